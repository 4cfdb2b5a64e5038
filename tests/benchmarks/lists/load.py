"""Fill a database with memories that have something in every column of the lists, without vectors."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from psycopg.types.json import Jsonb
from rich.progress import track

from memories.memory_types import MemoryType
from memories.models import DueEmbedding, Memory
from memories.namespace_sizes import measure_namespaces
from memory_site.core.db.ids import uuid7
from sessions_app.models import Namespace
from tests.benchmarks.data import MEMORY_COLUMNS, Synthetic, copy_rows

NAMESPACE, PART_ROWS = "lists", 10_000
LABEL_COLUMNS = ("agent_id", "repo_id", "session_id", "entity_system", "entity_id", "entity_type", "entity_name")
COLUMNS = MEMORY_COLUMNS | {"data": "jsonb"} | dict.fromkeys(LABEL_COLUMNS, "varchar")
TYPES, SYSTEMS = list(MemoryType), ("jira", "salesforce", "github")
SOURCES = ("api", "langchain", "mcp", "import", "admin")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
#: One memory among all has this text, in its data; it is the oldest, so that a search for it reads every row.
OLDEST_TEXT = "ZX-9912-QQ71"


def load(rows: int) -> Namespace:
    """Return the namespace with so many memories. Each part is a transaction, so an interrupted run goes on."""
    namespace, _ = Namespace.objects.get_or_create(name=NAMESPACE)
    done = Memory.objects.in_namespace(namespace.pk).count() // PART_ROWS
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    for part in track(range(done, rows // PART_ROWS), f"{rows:,} memories"):
        with transaction.atomic():
            copy_part(namespace.pk, part)
    if done < rows // PART_ROWS:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    measure_namespaces()
    return namespace


def copy_part(namespace_id: int, part: int) -> None:
    data = Synthetic(PART_ROWS, part=part)
    copy_rows("memories_memory", COLUMNS, generate_rows(namespace_id, data))
    DueEmbedding.objects.filter(namespace_id=namespace_id).delete()


def generate_rows(namespace_id: int, data: Synthetic) -> Iterator[tuple]:
    for row in range(data.rows):
        number = data.first + row
        moment = EPOCH + timedelta(seconds=10 * number)
        is_entity, is_tool = number % 20 == 0, number % 10 == 3
        details = {"tool": "list", "result": [number, number + 1], "note": data.query(row)} if is_tool else None
        yield (
            uuid7(),
            namespace_id,
            data.content(row),
            Jsonb(data.metadata(row)),
            MemoryType.DOMAIN_ENTITY if is_entity else TYPES[number % len(TYPES)],
            SOURCES[number % len(SOURCES)],
            None if number % 7 == 0 else f"user-{data.users[row]}",
            number % 5 + 1,
            1.0,
            [f"tag-{number % 20}"],
            moment,
            moment,
            number * 7919 % 1000,
            Jsonb({"tracking": OLDEST_TEXT} if number == 1 else details),
            f"agent-{number % 30}" if number % 3 else None,
            f"repo-{number % 40}" if number % 4 == 0 else None,
            f"session-{number // 50}" if number % 2 else None,
            *((SYSTEMS[number % 3], f"E-{number}", "ticket", f"Ticket {number}") if is_entity else (None,) * 4),
        )
