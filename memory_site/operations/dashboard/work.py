"""Cards about what is going on: the embedding queue, sessions, ingestions, workflow runs, changes of the last hour."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.utils import timezone

from memories.counts import HIDDEN_SQL, NAMESPACE_SQL
from memories.history.models import Operation
from memory_site.core.admin.formatting import truncate
from memory_site.operations.dashboard.content import Content, Figure, Line, Scope
from memory_site.operations.dashboard.links import link_created, link_list, link_memories, link_page
from sessions_app.models import Conversation, SessionMemory

MAX_LINES, MAX_TEXT_LENGTH = 5, 90
#: Days back that failures are counted.
FAILURE_DAYS = 7
# Expired memories leave the queue with their clean-up, and no list shows them until then.
QUEUE_SQL = """
WITH queue AS (
    SELECT count(*) FILTER (WHERE error = '') AS waiting, count(*) FILTER (WHERE error > '') AS refused,
           min(queued_at) FILTER (WHERE error = '') AS oldest
    FROM memories_dueembedding WHERE {scope}
),
hidden AS (
    SELECT count(*) FILTER (WHERE error = '') AS waiting, count(*) FILTER (WHERE error > '') AS refused
    FROM (SELECT namespace_id, id FROM memories_memory WHERE {scope} AND ({hidden})) memory
    JOIN memories_dueembedding due ON due.namespace_id = memory.namespace_id AND due.memory_id = memory.id
)
SELECT queue.waiting - hidden.waiting, queue.refused - hidden.refused, oldest FROM queue, hidden
"""

# The last errors come with the counts; their ends say what happened.
RUNS_SQL = """
SELECT status, count(*), (array_agg(
    json_build_object('id', id, 'name', {name}, 'error', right(coalesce(error, ''), 500), 'at', {at})
    ORDER BY {at} DESC, id DESC
) FILTER (WHERE status = 'failed'))[1:%(limit)s]
FROM {table} WHERE {scope} AND {at} >= now() - make_interval(days => %(days)s)
GROUP BY status ORDER BY status
"""
CHANGES_SQL = """
SELECT (SELECT count(*) FROM memories_memory
        WHERE {scope} AND created_at >= %(since)s AND NOT coalesce({hidden}, false)),
       count(*) FILTER (WHERE operation = 'update'), count(*) FILTER (WHERE operation = 'delete')
FROM history_memoryversion WHERE {scope} AND changed_at >= %(since)s
"""
STATUS_TONES = {"failed": "danger", "completed": "success"}


class Runs(NamedTuple):
    """Runs of one status: how many, and the last failures as {id, name, error, at}."""

    status: str
    runs: int
    failures: list[dict[str, Any]] | None


def build_queue(scope: Scope) -> Content:
    waiting, refused, oldest = fetch_queue(scope.namespace_id)
    figures = [
        Figure("waiting", waiting, link_memories(scope, embedding="waiting")),
        Figure("refused", refused, link_memories(scope, embedding="refused"), "danger" if refused else ""),
    ]
    lines = [Line("The oldest has waited since", at=oldest)] if waiting else []
    note = "" if waiting or refused else "Every memory has its vector: all of them are found by meaning."
    return Content(figures=figures, lines=lines, note=note)


def fetch_queue(namespace_id: int | None) -> tuple:
    """Return how many memories wait for a vector, how many the embedder refuses, and since when the oldest waits."""
    scope = "true" if namespace_id is None else NAMESPACE_SQL
    with connection.cursor() as cursor:
        cursor.execute(QUEUE_SQL.format(scope=scope, hidden=HIDDEN_SQL), {"namespace": namespace_id})
        return cursor.fetchone()


def build_sessions(scope: Scope) -> Content:
    hour, day = Q(updated_at__gt=Now() - timedelta(hours=1)), Q(updated_at__gt=Now() - timedelta(days=1))
    sessions = SessionMemory.objects.alive().filter(**scope.filters)
    counts = sessions.aggregate(all=Count("pk"), hour=Count("pk", filter=hour), day=Count("pk", filter=day))
    if not counts["all"]:
        return Content(
            empty="No session is kept. One begins with its first interaction, and ends with its time to live."
        )
    url = partial(link_list, "sessions_app_sessionmemory", **scope.filters)
    return Content(
        figures=[
            Figure("in 24 hours", counts["day"], url(active="24")),
            Figure("in the last hour", counts["hour"], url(active="1")),
            Figure("kept in all", counts["all"], url()),
        ]
    )


def build_conversations(scope: Scope) -> Content:
    conversations = Conversation.objects.filter(**scope.filters)
    counts = conversations.aggregate(open=Count("pk", filter=Q(ended_at=None)), all=Count("pk"))
    if not counts["all"]:
        return Content(empty="No conversation is stored. Messages that agents add by the API begin one.")
    return Content(
        figures=[
            Figure("open", counts["open"], link_list("sessions_app_conversation", **scope.filters, state="open")),
            Figure("conversations", counts["all"], link_list("sessions_app_conversation", **scope.filters)),
        ]
    )


def build_ingestions(scope: Scope) -> Content:
    runs = fetch_runs("ingestion_ingestion", "repo_id", "created_at", scope)
    empty = f"No repository was read in {FAILURE_DAYS} days. The API starts a run, or: python manage.py ingest"
    return describe_runs("ingestion_ingestion", runs, scope, empty)


def build_workflows(scope: Scope) -> Content:
    runs = fetch_runs("ingestion_workflowexecution", "workflow_id", "started_at", scope)
    empty = f"No workflow ran in {FAILURE_DAYS} days. The systems that run them report each run by the API."
    return describe_runs("ingestion_workflowexecution", runs, scope, empty)


def fetch_runs(table: str, name: str, at: str, scope: Scope) -> list[Runs]:
    where = "true" if scope.namespace_id is None else NAMESPACE_SQL
    with connection.cursor() as cursor:
        cursor.execute(
            RUNS_SQL.format(table=table, name=name, at=at, scope=where),
            {"namespace": scope.namespace_id, "days": FAILURE_DAYS, "limit": MAX_LINES},
        )
        return [Runs(*row) for row in cursor.fetchall()]


def describe_runs(model: str, runs: Sequence[Runs], scope: Scope, empty: str) -> Content:
    if not runs:
        return Content(empty=empty)
    figures = [
        Figure(
            each.status.replace("_", " "),
            each.runs,
            link_list(model, **scope.filters, status=each.status, days=FAILURE_DAYS),
            STATUS_TONES.get(each.status, ""),
        )
        for each in runs
    ]
    lines = [describe_failure(model, failure) for each in runs for failure in each.failures or ()]
    return Content(figures=figures, lines=lines, note=f"Started in the last {FAILURE_DAYS} days.")


def describe_failure(model: str, failure: dict[str, Any]) -> Line:
    """Return a failed run: its name and its error."""
    text, reason = (truncate(each, MAX_TEXT_LENGTH) for each in (failure["name"], summarize_error(failure["error"])))
    return Line(text, link_page(model, failure["id"]), reason, datetime.fromisoformat(failure["at"]), "danger")


def summarize_error(error: str) -> str:
    """Return a short error as one line, of a longer one the last line, which names the exception of a traceback."""
    words = " ".join(error.split()) or "failed"
    return words if len(words) <= MAX_TEXT_LENGTH else error.strip().splitlines()[-1]


def build_changes(scope: Scope) -> Content:
    """Count what was created, changed and deleted in the last hour."""
    since = timezone.now().replace(microsecond=0) - timedelta(hours=1)
    where = "true" if scope.namespace_id is None else NAMESPACE_SQL
    with connection.cursor() as cursor:
        cursor.execute(
            CHANGES_SQL.format(scope=where, hidden=HIDDEN_SQL), {"namespace": scope.namespace_id, "since": since}
        )
        created, changed, deleted = cursor.fetchone()
    url = partial(link_list, "history_memoryversion", **scope.filters, hours=1)
    return Content(
        figures=[
            Figure("created", created, link_created(scope, since)),
            Figure("changes", changed, url(operation=Operation.UPDATE)),
            Figure("deleted", deleted, url(operation=Operation.DELETE)),
        ]
    )
