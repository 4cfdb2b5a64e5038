"""LOG_FORMAT=json: one object a line, with the request, the task and the process."""

import json
import logging
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from django.core.exceptions import MiddlewareNotUsed
from django.urls import path

from memory_site.core.logs.formatters import JsonFormatter
from memory_site.core.logs.requests import RequestLogMiddleware
from memory_site.core.logs.setup import build_logging

CANARY = "canary-7f3a"
log = logging.getLogger("some")


class JsonLines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.formatter = JsonFormatter()
        self.lines: list[dict] = []
        self.thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self.thread:  # what threads of earlier tests still have to say
            return
        line = self.format(record)
        assert "\n" not in line
        self.lines.append(json.loads(line))


@pytest.fixture
def lines(settings):
    settings.LOG_FORMAT = "json"
    handler, root = JsonLines(), logging.getLogger()
    root.addHandler(handler)
    level, root.level = root.level, logging.INFO
    yield handler.lines
    root.removeHandler(handler)
    root.level = level


def test_a_line_says_when_where_and_what(lines):
    log.warning("Two\nlines of %s", "tea")
    [line] = lines
    assert line["event"] == "Two\nlines of tea"
    assert line["level"] == "warning"
    assert line["logger"] == "some"
    assert line["process"] == "command"
    assert isinstance(line["pid"], int)
    assert line["host"]
    assert line["timestamp"].endswith("Z")
    assert datetime.now(UTC) - datetime.fromisoformat(line["timestamp"]) < timedelta(minutes=1)


def test_an_error_is_one_line(lines):
    try:
        int(CANARY)
    except ValueError:
        log.exception("It failed")
    [line] = lines
    assert line["error"].startswith("ValueError: (its text is withheld")
    assert line["traceback"].startswith("Traceback")
    assert CANARY not in json.dumps(line)


def test_a_finished_request_is_one_line_without_its_path(lines, rf):
    def view(request):
        request.resolver_match = path("users/<user>", view).resolve(f"users/{CANARY}")
        log.info("Meanwhile")
        return type("Response", (), {"status_code": 404})()

    request = rf.get(f"/users/{CANARY}", {"user_id": CANARY})
    request.id = "id-1"
    request.auth = type("Caller", (), {"namespace_id": 7, "key_id": "ab12"})()
    RequestLogMiddleware(view)(request)
    log.info("Afterwards")
    meanwhile, finished, afterwards = lines
    expected = {"request_id": "id-1", "method": "GET", "route": "/users/<user>", "namespace": 7, "key_id": "ab12"}
    assert expected.items() <= meanwhile.items()
    assert (expected | {"event": "Request finished", "status": 404, "logger": "memory_site.requests"}).items() <= (
        finished.items()
    )
    assert finished["duration_ms"] >= 0
    assert "request_id" not in afterwards
    assert CANARY not in json.dumps(lines)


def test_a_finished_task_is_one_line(lines):
    app = Celery("some", set_as_current=False)

    @app.task(name="some task", shared=False)
    def work() -> None:
        log.info("Meanwhile")

    work.apply()
    meanwhile, finished = (line for line in lines if line["logger"] in ("some", "memory_site.tasks"))
    assert meanwhile["task"] == finished["task"] == "some task"
    assert meanwhile["task_id"] == finished["task_id"]
    assert finished["state"] == "SUCCESS"
    assert finished["duration_ms"] >= 0


def test_text_logs_no_request(settings):
    settings.LOG_FORMAT = "text"
    with pytest.raises(MiddlewareNotUsed):
        RequestLogMiddleware(lambda request: None)


def test_libraries_that_tell_of_every_message_are_quiet_unless_debugging():
    levels = build_logging("INFO", "text")["loggers"]
    assert levels["celery"]["level"] == levels["kombu"]["level"] == "WARNING"
    assert build_logging("ERROR", "text")["loggers"]["celery"]["level"] == "ERROR"
    assert build_logging("DEBUG", "text")["loggers"]["celery"]["level"] == "DEBUG"


WHAT_PYTHON_WRITES_ITSELF = f"""
import os, sys, threading, warnings
os.environ.update(LOG_FORMAT="json", DJANGO_SETTINGS_MODULE="memory_site.settings")
import django
django.setup()
warnings.warn("{CANARY}")
thread = threading.Thread(target=lambda: int("{CANARY}"))
thread.start()
thread.join()
int("{CANARY}")
"""


def test_warnings_and_uncaught_errors_are_lines_too():
    result = subprocess.run([sys.executable, "-c", WHAT_PYTHON_WRITES_ITSELF], capture_output=True, text=True)
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["py.warnings", "memory_site", "memory_site"]
    assert result.returncode == 1
    assert re.search(r"The thread \S+ .*ends by an error", lines[1]["event"])
    assert CANARY not in result.stderr
