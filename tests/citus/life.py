"""What a site does in its life, in this process: every operation, the console's pages, the commands and the tasks.

`python -m tests.citus.life DIRECTORY` does it on the database of DATABASE_URL, with two namespaces on two nodes, and
prints a line of JSON for each step: {"step", "ok", "error"}.
"""

import io
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_site.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib import admin  # noqa: E402
from django.contrib.admin.utils import quote  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.models import Model, UUIDField  # noqa: E402
from django.test.client import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402
from django.urls import NoReverseMatch, reverse  # noqa: E402

from memories.models import Memory  # noqa: E402
from sessions_app.models import SCOPES, ApiKey, Namespace  # noqa: E402
from tests.api_contract.conftest import create_folder, create_rows  # noqa: E402
from tests.conftest import Api  # noqa: E402
from tests.wire import SAMPLE_ID, list_operations  # noqa: E402

SELECT_NODE_SQL = """
SELECT groupid FROM pg_dist_placement
WHERE shardid = get_shard_id_for_distribution_column('memories_memory', %s::bigint)
"""
#: With the options that make each do something.
COMMANDS = (
    *(("cleanup_sessions",), ("forget_outdated",), ("prune_insights",), ("refresh_statistics",), ("delete_expired",)),
    ("prune_performance",),
    *(("embedding_status",), ("counts",), ("summaries",), ("recent",), ("entities",), ("search", "kumquat")),
    *(
        ("remember", "The kumquat is remembered."),
        ("check_recall",),
        ("workflow_report",),
        ("reencrypt_sessions", "--plain"),
    ),
    *(("reembed",), ("vacuum_vectors",), ("distribute", "--check"), ("distribute",)),
)
NAMED_COMMANDS = {
    "check_recall",
    "search",
    "remember",
    "counts",
    "summaries",
    "recent",
    "entities",
    "workflow_report",
    "embedding_status",
}


class LastError(logging.Handler):
    """Keeps the last exception that was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.text = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"


last_error = LastError()


class CountingApi(Api):
    """Every request is a step. With `retries` each POST has a key, and so a transaction."""

    def __init__(self, token: str, name: str, *, retries: bool) -> None:
        super().__init__(token)
        self.name, self.retries = name, retries
        #: What an operation before it may have deleted or ended.
        self.allowed: tuple[int, ...] = ()

    def raw(self, method: str, path: str, body: str | bytes | None, **headers: str):
        last_error.text = ""
        if self.retries and method == "POST":
            headers["Idempotency-Key"] = str(uuid4())
        response = super().raw(method, path, body, **headers)
        is_fine = response.status_code < 400 or response.status_code in self.allowed
        report(
            f"{self.name}: {method} {path}",
            "" if is_fine else f"{response.status_code} {last_error.text or response.content.decode()}",
        )
        return response


def report(step: str, error: str = "") -> None:
    print(json.dumps({"step": step, "ok": not error, "error": error[:1000]}), flush=True)


def attempt(step: str, work: Callable[[], object]) -> None:
    try:
        work()
    except BaseException as error:  # a command may exit
        report(step, f"{type(error).__name__}: {error}")
    else:
        report(step)


def create_namespaces() -> list[Namespace]:
    """Create namespaces until two of them are on different nodes."""
    first = Namespace.objects.create(name=f"life {uuid4()}")
    while True:
        other = Namespace.objects.create(name=f"life {uuid4()}")
        if find_node(first) != find_node(other):
            return [first, other]


def find_node(namespace: Namespace) -> int:
    with connection.cursor() as cursor:
        cursor.execute(SELECT_NODE_SQL, [namespace.pk])
        return cursor.fetchone()[0]


def use_api(namespace: Namespace, name: str, *, retries: bool) -> None:
    """Call every operation, with the rows there that its path names.

    Without `retries` each commits, and those that delete come last; otherwise what each does is undone.
    """
    api = CountingApi(ApiKey.objects.issue(namespace, scopes=SCOPES)[1], name, retries=retries)
    root = Path(tempfile.mkdtemp())
    settings.INGESTION_ROOTS = [str(root)]
    ids = create_rows(api, create_folder(root))
    api.allowed = () if retries else (404, 409)
    for operation in sorted(list_operations(), key=lambda each: "DELETE" in each.method or "delete" in each.path):
        with transaction.atomic() if retries else nullcontext():
            api.call(operation.method, operation.url(ids), operation.example())
            if retries:
                transaction.set_rollback(True)


def iter_pages() -> Iterator[str]:
    """The console's lists, and the page of a row of each."""
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        # Both namespaces have a row of this id.
        row = model._base_manager.exclude(pk=SAMPLE_ID).first() if has_uuid(model) else model._base_manager.first()
        with suppress(NoReverseMatch):  # it has a list only
            yield reverse(f"{name}_change", args=[quote(row.pk) if row else ""])
    yield reverse("admin:index")


def has_uuid(model: type[Model]) -> bool:
    return isinstance(model._meta.pk, UUIDField)


def open_console() -> None:
    operator = User.objects.create(username=f"operator {uuid4()}", is_staff=True, is_superuser=True)
    client = Client(raise_request_exception=False)
    client.force_login(operator)
    for path in iter_pages():
        last_error.text = ""
        status = client.get(path).status_code
        report(f"page {path}", "" if status in (200, 302, 403) else f"{status} {last_error.text}")


def run_commands(namespace: Namespace, directory: Path) -> None:
    export, named = str(directory / "export.jsonl"), ["--namespace", namespace.name]
    Memory.objects.filter(namespace=namespace, pk=SAMPLE_ID).update(memory_type="insight")  # or no import takes it
    for name, *arguments in COMMANDS:
        run_command(name, *arguments, *(named if name in NAMED_COMMANDS else []))
    run_command("export_memories", export, *named)
    run_command("import_memories", export, *named)
    number = str(Memory.objects.filter(namespace=namespace).count())
    run_command("forget", "--memories", "--yes-delete", number, *named)
    run_command("import_memories", export, *named)


def run_command(name: str, *arguments: str) -> None:
    def work() -> None:
        call_command(name, *arguments, stdout=io.StringIO(), stderr=io.StringIO())

    attempt(f"command {name}", work)


def run_tasks() -> None:
    for schedule in settings.CELERY_BEAT_SCHEDULE.values():
        module, _, name = schedule["task"].rpartition(".")
        attempt(f"task {schedule['task']}", getattr(import_module(module), name))


def main(directory: Path) -> None:
    setup_test_environment()
    logging.getLogger().addHandler(last_error)
    for name in ("memory_site.api", "django.request"):
        logging.getLogger(name).addHandler(last_error)
    first, second = create_namespaces()
    use_api(first, "one", retries=False)
    use_api(second, "two", retries=True)
    for namespace in (first, second):
        assert Memory.objects.filter(namespace=namespace).exists(), namespace
    open_console()
    run_tasks()
    run_commands(second, directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
