"""Workflow executions: an execution and its memory are written in one transaction; the report is one statement."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from ingestion.models import FINISHED_STATUSES, ExecutionStatus, WorkflowExecution, WorkflowExecutionQuerySet
from ingestion.schemas.workflows import REPORT_COLUMNS, ExecutionIn, ExecutionPatch
from memories import tasks
from memories.add import add_one
from memories.edit import save_changes
from memories.memory_types import MemoryType
from memories.models import Memory
from memories.schemas import MemoryIn
from memory_site.core.errors import Conflict, InvalidField
from memory_site.core.http.fields import check_datetime_range
from sessions_app.schemas.sessions import check_clock_skew

#: 36,500 days, a century, reach before the earliest storable time (2000).
DEFAULT_REPORT_DAYS, MAX_REPORT_DAYS, MAX_REPORT_ROWS = 30, 36_500, 1_000
#: Clients measure a duration by another clock than the times.
DURATION_TOLERANCE = timedelta(seconds=1)
STATUS_PHRASES = {
    ExecutionStatus.PENDING: "pending since",
    ExecutionStatus.RUNNING: "running since",
    ExecutionStatus.COMPLETED: "completed at",
    ExecutionStatus.FAILED: "failed at",
}
#: A status may only change to one of a higher order; both final ones have the same.
STATUS_ORDER = {
    ExecutionStatus.PENDING: 0,
    ExecutionStatus.RUNNING: 1,
    ExecutionStatus.COMPLETED: 2,
    ExecutionStatus.FAILED: 2,
}
# An execution counts for each of its repositories. Documents are counted once per repository, not once per report row.
SELECT_WORKFLOW_REPORT_SQL = """
WITH execution_group AS (
    SELECT namespace_id, workflow_id, adapter, agent_id, repo_id, count(*) AS executions,
           count(*) FILTER (WHERE status = 'completed') AS completed,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           avg(duration_seconds) AS average_seconds, max(started_at) AS last_execution
    FROM ingestion_workflowexecution LEFT JOIN LATERAL unnest(repositories) AS repo_id ON true
    WHERE (%(namespace)s::bigint IS NULL OR namespace_id = %(namespace)s::bigint)
        AND started_at >= now() - make_interval(days => %(days)s)
    GROUP BY namespace_id, workflow_id, adapter, agent_id, repo_id
    ORDER BY last_execution DESC, workflow_id, adapter, agent_id, repo_id, namespace_id LIMIT %(limit)s
),
repository AS (
    SELECT namespace_id, repo_id, count(*) AS documents, sum(chunks)::bigint AS chunks
    FROM ingestion_document document CROSS JOIN LATERAL (
        SELECT count(*) AS chunks FROM memories_memory chunk
        WHERE (%(namespace)s::bigint IS NULL OR chunk.namespace_id = %(namespace)s::bigint)
            AND chunk.namespace_id = document.namespace_id AND chunk.document_id = document.id
            AND (chunk.expires_at IS NULL OR chunk.expires_at > now())
    ) stored
    WHERE (%(namespace)s::bigint IS NULL OR namespace_id = %(namespace)s::bigint)
        AND (namespace_id, repo_id) IN (SELECT namespace_id, repo_id FROM execution_group)
    GROUP BY namespace_id, repo_id
)
SELECT execution_group.*, coalesce(documents, 0) AS documents, coalesce(chunks, 0) AS chunks
FROM execution_group LEFT JOIN repository USING (namespace_id, repo_id)
ORDER BY last_execution DESC, workflow_id, adapter, agent_id, repo_id, namespace_id
"""


def create_execution(namespace_id: int, workflow_id: str, payload: ExecutionIn) -> WorkflowExecution:
    """Store an execution and, unless `remember` is false, its memory, in one transaction. Raises InvalidField."""
    fields = payload.model_dump(exclude={"summary", "remember", "duration_seconds"})
    execution = WorkflowExecution(namespace_id=namespace_id, workflow_id=workflow_id, **fields)
    complete_times(execution, payload.duration_seconds)
    with transaction.atomic():
        if payload.remember:
            row, _ = add_one(namespace_id, build_execution_memory(execution, payload.summary))
            execution.memory_id = row["id"]
            tasks.embedding_trigger.notify_on_commit()
        execution.save(force_insert=True)
    return execution


def patch_execution(namespace_id: int, rows: WorkflowExecutionQuerySet, payload: ExecutionPatch) -> bool:
    """Update the one execution that `rows` selects in the namespace, and its memory, if that still exists. Return False
    when there is no such execution.

    Raises Conflict for a status change that goes back, and InvalidField for inconsistent times.
    """
    with transaction.atomic():
        # The memory is locked first, in the same order as by a DELETE, whose trigger then updates the execution.
        memories = Memory.objects.in_namespace(namespace_id).filter(pk__in=rows.values("memory_id"))
        memory = memories.select_for_update().first()
        execution = rows.select_for_update().first()
        if execution is None:
            return False
        sentence = describe_execution(execution)
        apply_changes(execution, payload.model_dump(exclude_unset=True))
        if memory is not None and memory.pk == execution.memory_id:
            update_memory(memory, execution, sentence, result="result" in payload.model_fields_set)
    return True


def apply_changes(execution: WorkflowExecution, changes: dict[str, Any]) -> None:
    old, new = ExecutionStatus(execution.status), ExecutionStatus(changes.get("status", execution.status))
    if new != old and STATUS_ORDER[new] <= STATUS_ORDER[old]:
        raise Conflict(f"The execution is {old}, and cannot become {new}.")
    duration_seconds = changes.pop("duration_seconds", None)
    if duration_seconds is not None and "finished_at" not in changes:
        execution.finished_at = None  # of a finished execution too: its duration is corrected
    for name, value in changes.items():
        setattr(execution, name, value)
    complete_times(execution, duration_seconds)
    execution.save(update_fields=["status", "result", "error", "finished_at"])


def complete_times(execution: WorkflowExecution, duration_seconds: float | None) -> None:
    """Fill in the times that were not given. Raises InvalidField for inconsistent times."""
    finished = execution.status in FINISHED_STATUSES
    for field, value in (("finished_at", execution.finished_at), ("duration_seconds", duration_seconds)):
        if value is not None and not finished:
            raise InvalidField(field, "is only for an execution that is completed or failed")
    if duration_seconds is not None:
        apply_duration(execution, timedelta(seconds=duration_seconds))
    now = datetime.now(UTC)
    execution.started_at = execution.started_at or min(execution.finished_at or now, now)
    if finished:  # the client's clock may be a little ahead of the server's
        execution.finished_at = execution.finished_at or max(execution.started_at, now)
        if execution.finished_at < execution.started_at:
            raise InvalidField("finished_at", "may not lie before started_at")


def apply_duration(execution: WorkflowExecution, duration: timedelta) -> None:
    """Set the missing one of start and end; without both, it ends now. Raises InvalidField."""
    if execution.started_at is not None and execution.finished_at is not None:
        if abs(execution.finished_at - execution.started_at - duration) > DURATION_TOLERANCE:
            raise InvalidField("duration_seconds", "is not the time from started_at to finished_at")
        return
    try:
        if execution.started_at is None:
            execution.finished_at = execution.finished_at or datetime.now(UTC)
            execution.started_at = check_datetime_range(execution.finished_at - duration)
        else:
            execution.finished_at = check_clock_skew(execution.started_at + duration)
    except ValueError as error:
        end = "started_at" if execution.finished_at else "finished_at"
        raise InvalidField("duration_seconds", f"gives a {end} that {error}") from error


def get_event_time(execution: WorkflowExecution) -> datetime:
    """Return when the execution reached its state: its end, or its start while it has none."""
    return execution.finished_at or execution.started_at


def build_execution_memory(execution: WorkflowExecution, summary: str | None) -> MemoryIn:
    """Return the memory, as old as the execution; one by a clock ahead of the server's is of now."""
    sentence, repositories = describe_execution(execution), execution.repositories
    return MemoryIn(
        content=f"{summary}\n\n{sentence}" if summary else sentence,
        memory_type=MemoryType.WORKFLOW,
        source_system=execution.adapter,
        workflow_id=execution.workflow_id,
        agent_id=execution.agent_id,
        user_id=execution.user_id,
        repo_id=repositories[0] if len(repositories) == 1 else None,
        data=execution.result,
        metadata=build_metadata(execution),
        created_at=min(get_event_time(execution), datetime.now(UTC)),
    )


def describe_execution(execution: WorkflowExecution) -> str:
    """Return the content of an execution's memory. It ends with the id, so that no two memories are duplicates."""
    agent = f", agent {execution.agent_id}" if execution.agent_id else ""
    repositories = f", on {', '.join(execution.repositories)}" if execution.repositories else ""
    when = get_event_time(execution)
    state = f"{STATUS_PHRASES[ExecutionStatus(execution.status)]} {when:%Y-%m-%d %H:%M:%S} UTC"
    duration = f", after {(when - execution.started_at).total_seconds():.1f} s" if execution.finished_at else ""
    error = f"\nError: {execution.error}\n" if execution.error else " "
    return (
        f"Workflow {execution.workflow_id} by {execution.adapter}{agent}{repositories}, {state}{duration}."
        f"{error}Execution {execution.pk}."
    )


def build_metadata(execution: WorkflowExecution) -> dict[str, str]:
    return {"execution_id": str(execution.pk), "status": execution.status}


def update_memory(memory: Memory, execution: WorkflowExecution, sentence: str, *, result: bool) -> None:
    """Replace the generated sentence, metadata and time; the summary and later edits of the memory stay."""
    content = memory.content.replace(sentence, describe_execution(execution))
    data = {"data": execution.result} if result else {}
    when = min(get_event_time(execution), datetime.now(UTC))
    metadata = memory.metadata | build_metadata(execution)
    save_changes(memory, content=content, metadata=metadata, created_at=when, **data)
    tasks.embedding_trigger.notify_on_commit()


def fetch_report(namespace_id: int, days: int) -> list[dict[str, Any]]:
    """Return a namespace's report, each row with the fields of ReportRow."""
    return [{name: row[name] for name in REPORT_COLUMNS} for row in fetch_report_with_namespaces(namespace_id, days)]


def fetch_report_with_namespaces(namespace_id: int | None, days: int) -> list[dict[str, Any]]:
    """Count the executions of the last days by workflow, adapter, agent and repository.

    Each row also has the repository's documents and chunks, and its namespace_id; None reports all namespaces.
    The latest execution comes first; at most 1,000 rows.
    """
    with connection.cursor() as cursor:
        cursor.execute(SELECT_WORKFLOW_REPORT_SQL, {"namespace": namespace_id, "days": days, "limit": MAX_REPORT_ROWS})
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]
