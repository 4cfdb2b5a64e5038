"""Figures of what is stored. None of them counts a whole table."""

from collections.abc import Iterator
from datetime import datetime

from django.db import connection
from django.db.models import Count, Max, Min, Model, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from ingestion.models import Ingestion, IngestionStatus
from memories.jobs.models import OPEN_STATES, Job
from memories.models import DueEmbedding, Memory, NamespaceSize
from memories.namespace_sizes import MAX_COUNTED_MEMORIES
from memory_site.operations.metrics.figures import Figure, Value
from sessions_app.models import Namespace, SessionMemory

#: Rows are counted up to here, which takes about 30 ms; above, PostgreSQL's estimate is as good.
MAX_COUNTED_ROWS = 100_000
OPEN_STATUSES = (IngestionStatus.PENDING.value, IngestionStatus.IN_PROGRESS.value)
# Of a partitioned table its partitions are counted.
ESTIMATE_ROWS_SQL = """
SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class
WHERE oid = %(table)s::regclass OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %(table)s::regclass)
"""

NAMESPACES = Figure("namespaces", "Namespaces.")
MEMORIES = Figure("memories", "Memories. Above 100,000 as a task counts them every ten minutes.")
BACKLOG = Figure(
    "embedding_backlog", "Memories without a vector, by state: they wait, or the embedder refuses them.", ("state",)
)
OLDEST = Figure("embedding_oldest_seconds", "How long the oldest of the waiting memories has waited; 0 when none does.")
SESSIONS = Figure("sessions", "Sessions that have a history.")
INGESTIONS = Figure("ingestions", "Ingestions that are not finished, by status.", ("status",))
JOBS = Figure(
    "jobs", "Jobs that have not ended, by state. `stuck` ones no worker has touched for a minute.", ("state",)
)
FIGURES = (NAMESPACES, MEMORIES, BACKLOG, OLDEST, SESSIONS, INGESTIONS, JOBS)


def read_store() -> Iterator[Value]:
    """Yield the figures of what is stored. Large numbers are estimates."""
    yield NAMESPACES.value(count_rows(Namespace.objects.all()))
    yield MEMORIES.value(count_memories())
    yield from read_backlog()
    yield SESSIONS.value(count_rows(SessionMemory.objects.all()))
    yield from read_ingestions()
    yield from read_jobs()


def count_memories() -> int:
    """Return the number of rows; of many the sum over the namespaces, unless one was not counted, or not to its end."""
    counted = Memory.objects.order_by()[:MAX_COUNTED_ROWS].count()
    if counted < MAX_COUNTED_ROWS:
        return counted
    sizes = NamespaceSize.objects.aggregate(sum=Coalesce(Sum("memories"), 0), largest=Coalesce(Max("memories"), 0))
    is_complete = sizes["sum"] >= counted and sizes["largest"] < MAX_COUNTED_MEMORIES
    return sizes["sum"] if is_complete else max(counted, sizes["sum"], estimate_rows(Memory))


def read_backlog() -> Iterator[Value]:
    """Read the queue once, as far as MAX_COUNTED_ROWS."""
    waits = Q(error="")
    queue = DueEmbedding.objects.order_by()[:MAX_COUNTED_ROWS].aggregate(
        waiting=Count("pk", filter=waits), refused=Count("pk", filter=~waits), oldest=Min("queued_at", filter=waits)
    )
    counted = queue["waiting"] + queue["refused"]
    more = estimate_rows(DueEmbedding) - counted if counted == MAX_COUNTED_ROWS else 0
    yield BACKLOG.value(queue["waiting"] + max(more, 0), "waiting")
    yield BACKLOG.value(queue["refused"], "refused")
    yield OLDEST.value(read_age(queue["oldest"]))


def read_age(moment: datetime | None) -> float:
    """Return the seconds since a moment by the clock of the database, and 0 for none."""
    if moment is None:
        return 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT greatest(extract(epoch FROM clock_timestamp() - %s::timestamptz), 0)", [moment])
        return float(cursor.fetchone()[0])


def read_ingestions() -> Iterator[Value]:
    rows = Ingestion.objects.filter(status__in=OPEN_STATUSES).order_by().values_list("status")
    numbers = dict(rows.annotate(number=Count("pk")))
    for status in OPEN_STATUSES:
        yield INGESTIONS.value(numbers.get(status, 0), status)


def read_jobs() -> Iterator[Value]:
    rows = Job.objects.filter(state__in=OPEN_STATES).order_by().values_list("state")
    numbers = dict(rows.annotate(number=Count("pk")))
    for state in OPEN_STATES:
        yield JOBS.value(numbers.get(state, 0), state.value)
    yield JOBS.value(Job.objects.stuck().count(), "stuck")


def count_rows(rows: QuerySet) -> int:
    """Count rows of a whole table up to MAX_COUNTED_ROWS, beyond which they are estimated."""
    counted = rows.order_by()[:MAX_COUNTED_ROWS].count()
    return counted if counted < MAX_COUNTED_ROWS else max(counted, estimate_rows(rows.model))


def estimate_rows(model: type[Model]) -> int:
    """Return how many rows the last VACUUM or ANALYZE found."""
    with connection.cursor() as cursor:
        cursor.execute(ESTIMATE_ROWS_SQL, {"table": model._meta.db_table})
        return cursor.fetchone()[0]
