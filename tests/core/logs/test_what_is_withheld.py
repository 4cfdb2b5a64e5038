"""No line of a log, in either format, holds what a caller sent; what an operator needs of an error is there."""

import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from celery import Celery
from django.core.exceptions import ImproperlyConfigured
from django.db import DataError, IntegrityError, OperationalError, connection
from pydantic import BaseModel
from pydantic_core import from_json

from memories.embeddings import EmbedderUnavailable
from memory_site.core.logs.formatters import JsonFormatter, TextFormatter
from memory_site.operations.backups.problems import BackupProblem
from sessions_app.models import Namespace

CANARY = "canary-7f3a"
FORMATTERS = (TextFormatter, JsonFormatter)


class Lines(logging.Handler):
    """Formats what is logged, in every format."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.formatters = [formatter() for formatter in FORMATTERS]
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += "\n".join(formatter.format(record) for formatter in self.formatters) + "\n"


@pytest.fixture
def lines():
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def raise_and_log(fail: Callable[[], object]) -> None:
    try:
        fail()
    except Exception as error:
        logging.getLogger("some").exception("It failed: %s", error)


def run_sql(statement: str, *parameters: object) -> Callable[[], object]:
    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)

    return run


class Number(BaseModel):
    number: int


def fail_by_a_cause() -> None:
    try:
        int(CANARY)
    except ValueError as error:
        raise RuntimeError(CANARY) from error


LEAKING = {
    "number": lambda: int(CANARY),
    "key": lambda: {}[CANARY],
    "json": lambda: json.loads(CANARY),
    "other json": lambda: from_json(f'{{"{CANARY}"'),
    "schema": lambda: Number(number=CANARY),
    "bytes": lambda: (CANARY.encode() + b"\xff").decode("ascii"),
    "cause": fail_by_a_cause,
    "address": lambda: psycopg.connect(f"postgresql://u:{CANARY}@h:port/{CANARY}"),
}


@pytest.mark.parametrize("name", LEAKING)
def test_the_text_of_an_error_with_data_is_withheld(lines, name):
    raise_and_log(LEAKING[name])
    assert CANARY not in lines.text
    assert "Traceback" in lines.text
    assert __file__ in lines.text


@pytest.mark.django_db
def test_a_database_error_shows_its_code_and_no_row(lines):
    raise_and_log(run_sql("SELECT %s::text::int", CANARY))
    assert CANARY not in lines.text
    assert "DataError [SQLSTATE 22P02]" in lines.text


@pytest.mark.django_db
def test_a_violated_constraint_shows_its_name_and_no_row(lines):
    Namespace.objects.create(name=CANARY)
    raise_and_log(lambda: Namespace.objects.create(name=CANARY))
    assert CANARY not in lines.text
    assert f"{IntegrityError.__module__}.IntegrityError [SQLSTATE 23505, table sessions_app_namespace" in lines.text


@pytest.mark.django_db
def test_a_cancelled_statement_shows_its_code(lines):
    raise_and_log(run_sql("SET LOCAL statement_timeout = 1; SELECT pg_sleep(1)"))
    assert "SQLSTATE 57014" in lines.text
    assert "canceling statement due to statement timeout" in lines.text


def refuse() -> None:
    try:
        psycopg.connect("host=127.0.0.1 port=1 connect_timeout=1")
    except psycopg.OperationalError as error:
        raise OperationalError(*error.args) from error


HARMLESS = {
    "Connection refused": refuse,
    "No such file": lambda: Path("/nowhere").read_text(),
    "DATA_DIR is wrong": lambda: exec("raise error", {"error": ImproperlyConfigured("DATA_DIR is wrong")}),
    "has no attribute": lambda: object().nothing,
    "Not enough room": lambda: exec("raise error", {"error": BackupProblem("Not enough room.")}),
    "cannot be reached": lambda: exec("raise error", {"error": EmbedderUnavailable("It cannot be reached.")}),
}


@pytest.mark.parametrize("text", HARMLESS)
def test_the_text_of_a_harmless_error_is_shown(lines, text):
    raise_and_log(HARMLESS[text])
    assert text in lines.text


def test_an_error_that_looks_harmless_by_its_class_alone_is_withheld(lines):
    """Django's OperationalError may stand for any error of the server."""
    raise_and_log(lambda: exec("raise error", {"error": OperationalError(CANARY)}))
    assert CANARY not in lines.text


def test_a_failed_task_shows_class_and_place_only(lines):
    app = Celery("some", set_as_current=False)

    @app.task(name="some task", shared=False)
    def fail(argument: str) -> None:
        raise DataError(argument)

    fail.apply(args=[CANARY], kwargs={})
    assert CANARY not in lines.text
    assert "Task some task[" in lines.text
    assert "DataError" in lines.text
    assert __file__ in lines.text


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_an_unexpected_shape_of_arguments_is_no_error(formatter):
    record = logging.LogRecord("some", logging.INFO, "x.py", 1, "%d of them", ("not a number",), None)
    assert "do not fit" in formatter().format(record)


def test_a_path_becomes_its_route(lines):
    request = SimpleNamespace(path=f"/api/v1/users/{CANARY}", resolver_match=SimpleNamespace(route="api/v1/users/<id>"))
    logging.getLogger("django.request").error("%s: %s", "Not possible", request.path, extra={"request": request})
    assert CANARY not in lines.text
    assert "Not possible: /api/v1/users/<id>" in lines.text


def test_a_real_error_page_shows_no_path(lines, client, settings, monkeypatch):
    settings.DEBUG_PROPAGATE_EXCEPTIONS = False
    client.raise_request_exception = False
    monkeypatch.setattr("django.contrib.auth.middleware.get_user", lambda request: int(CANARY))
    answer = client.get(f"/admin/memories/memory/{CANARY}/change/", headers={"accept": "text/html"})
    assert answer.status_code == 500
    assert CANARY not in lines.text
    assert "Internal Server Error: " in lines.text


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_a_warning_shows_its_place_and_only_of_code_its_text(formatter):
    def describe(category: type[Warning]) -> str:
        text = warnings.formatwarning(f"a value: {CANARY}", category, "some.py", 7, "code()")
        return formatter().format(logging.LogRecord("py.warnings", logging.WARNING, "x.py", 1, "%s", (text,), None))

    assert CANARY not in describe(UserWarning)
    assert "some.py:7: UserWarning: (its text is withheld" in describe(UserWarning)
    assert CANARY in describe(DeprecationWarning)


SECRET_URLS = {
    "DATABASE_URL": f"postgresql://memory:{CANARY}@127.0.0.1:1/memory",
    "REDIS_URL": f"redis://:{CANARY}@127.0.0.1:1/0",
    "SECRET_KEY": CANARY + 50 * "x",
}


def test_a_worker_that_reaches_nothing_shows_no_password_of_its_addresses():
    environment = {**os.environ, **SECRET_URLS, "LOG_LEVEL": "DEBUG"}
    argv = [sys.executable, "-m", "celery", "-A", "memory_site", "--quiet", "worker", "--pool", "threads"]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True) as worker:
        said = read_until(worker, "Trying again")
        worker.kill()
    assert "Cannot connect" in said
    assert CANARY not in said


def read_until(process: subprocess.Popen, word: str) -> str:
    said = ""
    while word not in said and (line := process.stderr.readline()):
        said += line
    return said


def test_text_has_colours_only_on_a_terminal(monkeypatch):
    record = logging.LogRecord("some", logging.ERROR, "x.py", 1, "tea", (), None)
    assert "\x1b" not in TextFormatter().format(record)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31mERROR\x1b[0m some tea" in TextFormatter().format(record)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in TextFormatter().format(record)
