"""No operation of the API touches more than one partition of a table: its statements name the namespace."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import override_settings

from memories.models import Memory
from memories.seen import seen_memories
from memory_site.core.db.divided import list_divided_tables
from sessions_app.models import SCOPES, ApiKey, Namespace
from tests.api_contract.conftest import create_folder, create_rows
from tests.conftest import Api
from tests.partitioned import divide_tables, name_partition, observe
from tests.wire import build_raw_body, build_sample, iter_fields, list_operations

pytestmark = pytest.mark.django_db
#: Operations that need no more than the rows of the key and its namespace, which every part of a database has.
ON_NO_PARTITION = {"GET /key"}
# Distributed tables (Citus) refuse functions that are not IMMUTABLE behind ON CONFLICT, and a clock that moves within a
# statement in an UPDATE.
FORBIDDEN_CLOCK = re.compile(
    r"ON CONFLICT(?:(?!RETURNING).)*?(?:\bnow\(\)|_timestamp\b(?=\()|CURRENT_TIMESTAMP)"
    r"|\bUPDATE\b(?:(?!RETURNING).)*?clock_timestamp\(",
    re.DOTALL | re.IGNORECASE,
)
#: Commands that are given a namespace. `{}` are ids of its rows, and a file.
COMMANDS = [
    ("check_recall", "--queries", "2"),
    ("cleanup_sessions", "--max-age-hours", "1"),
    ("counts", "--by", "user"),
    ("delete_expired",),
    ("embedding_status",),
    ("entities",),
    ("export_memories", "{file}"),
    ("export_memories", "{file}", "--user", "our-user"),
    ("forget", "--everything", "--dry-run"),
    ("forget", "--older-than", "1d", "--dry-run"),
    ("forget", "--user", "our-user", "--dry-run"),
    ("forget_outdated", "--dry-run"),
    ("import_memories", "{file}"),
    ("prune_insights",),
    ("prune_performance",),
    ("recent",),
    ("remember", "Ada prefers tea."),
    ("search", "kumquat"),
    ("show", "{memory_id}"),
    ("summaries", "kumquat"),
    ("workflow_report",),
]
#: What they may ask of all namespaces, as patterns of statements: which ids of a file rows of other namespaces have.
ASKED_OF_ALL = {"import_memories": r"SELECT (\w+) FROM \w+ WHERE \1 = ANY\(%s\) AND namespace_id <> %s"}


@pytest.fixture(scope="module")
def lives(module_transaction, tmp_path_factory) -> list[tuple[Namespace, Api, dict[str, str]]]:
    """Two namespaces full of rows, in different partitions: each with its caller and the ids of its rows."""
    divide_tables()
    root = tmp_path_factory.mktemp("root")
    folder = create_folder(root)
    with override_settings(INGESTION_ROOTS=[str(root)]):
        return [create_life(namespace, folder) for namespace in create_namespaces()]


def create_namespaces() -> list[Namespace]:
    found: dict[str, Namespace] = {}
    while len(found) < 2:
        namespace = Namespace.objects.create(name=f"namespace {Namespace.objects.count()}")
        found.setdefault(name_partition(namespace.pk), namespace)
    return list(found.values())


def create_life(namespace: Namespace, folder) -> tuple[Namespace, Api, dict[str, str]]:
    api = Api(ApiKey.objects.issue(namespace, scopes=SCOPES)[1])
    return namespace, api, create_rows(api, folder)


@pytest.fixture(scope="module")
def plans() -> dict[str, list[str]]:
    return {}


def iter_requests(operation, ids: dict[str, str]) -> Iterator[tuple[str, bytes | None]]:
    """Yield the example of an operation, and then one request for each parameter and each field of its body."""
    url, body = operation.url(ids), operation.example()
    example = None if body is None else json.dumps(body).encode()
    yield url, example
    for name, schema in operation.query.items():
        if name not in operation.required_query:
            yield f"{url}{'&' if '?' in url else '?'}{name}={build_sample(schema)}", example
    for place, schema in iter_fields(operation.body or {}):
        yield url, build_raw_body(operation, place, json.dumps(build_sample(schema)))


@pytest.mark.parametrize("operation", list_operations(), ids=str)
def test_operation_touches_one_partition(lives, db, plans, operation):
    namespace, api, ids = lives[0]
    own = name_partition(namespace.pk)
    for number, (url, body) in enumerate(iter_requests(operation, ids)):
        with transaction.atomic(), observe(plans) as touched:
            response = api.raw(operation.method, url, body, **{"Idempotency-Key": f"{number}"})
            seen_memories.flush()
            transaction.set_rollback(True)
        assert response.status_code < 500, response.content
        assert number or response.status_code < 300, response.content
        assert touched.crossing == {}, "\n".join(touched.crossing)
        assert list(filter(reads_forbidden_clock, touched.statements)) == []
        assert touched.list_tables_elsewhere(namespace.pk) == set(), (url, body)
        assert number or (own in touched.partitions) == (str(operation) not in ON_NO_PARTITION)


def reads_forbidden_clock(sql: str) -> bool:
    """Return whether a statement on a divided table does; other tables stay on one node."""
    return bool(FORBIDDEN_CLOCK.search(sql)) and any(table in sql for table in list_divided_tables())


def test_a_statement_without_a_namespace_is_noticed(lives, db):
    namespace, _, ids = lives[0]
    with observe({}) as touched:
        assert Memory.objects.get(pk=ids["memory_id"]).namespace == namespace
    assert list(touched.crossing.values()) == [["memories_memory"]]
    assert touched.list_tables_elsewhere(namespace.pk) == {"memories_memory"}


def test_a_statement_inside_a_function_is_noticed(lives, db):
    namespace, _, ids = lives[0]
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION pg_temp.find(wanted uuid) RETURNS bigint LANGUAGE plpgsql AS $$"
            " BEGIN RETURN (SELECT namespace_id FROM memories_memory WHERE id = wanted); END $$"
        )
        with observe({}) as touched:
            cursor.execute("SELECT pg_temp.find(%s)", [ids["memory_id"]])
    assert touched.crossing == {}
    assert touched.list_tables_elsewhere(namespace.pk) == {"memories_memory"}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_for_one_namespace_touches_one_partition(lives, db, plans, tmp_path, command):
    namespace, _, ids = lives[0]
    name, *arguments = [each.format(file=tmp_path / "export.jsonl", **ids) for each in command]
    if name == "import_memories":
        call_command("export_memories", *arguments, "--namespace", namespace.name, stdout=StringIO())
    with observe(plans) as touched, suppress(SystemExit):
        call_command(name, *arguments, "--namespace", namespace.name, stdout=StringIO())
    asked = {bool(re.fullmatch(ASKED_OF_ALL.get(name, ""), sql)) for sql in touched.crossing}
    assert asked == ({True} if name in ASKED_OF_ALL else set()), "\n".join(touched.crossing)
    assert name_partition(namespace.pk) in touched.partitions
    assert name in ASKED_OF_ALL or not touched.list_tables_elsewhere(namespace.pk)


@pytest.mark.parametrize(
    ("statement", "is_refused"),
    [
        ("INSERT INTO {} VALUES (now()) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING now()", False),
        ("INSERT INTO {} VALUES (1) ON CONFLICT (a) DO UPDATE SET b = now()", True),
        ("INSERT INTO {} AS t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1 WHERE t.c > statement_timestamp()", True),
        ("UPDATE {} SET a = STATEMENT_TIMESTAMP() WHERE b = 1", False),
        ("UPDATE {} SET a = greatest(a, clock_timestamp())", True),
    ],
)
def test_clocks_that_distributed_tables_refuse_are_noticed(statement, is_refused):
    assert reads_forbidden_clock(statement.format("memories_memory")) == is_refused
    assert not reads_forbidden_clock(statement.format("operations_heartbeat"))
