"""Workflow executions: an execution and its memory are written in one transaction; the report is one statement."""

from datetime import UTC, datetime
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

#: 36,500 days, a century, reach before the earliest storable time (2000).
DEFAULT_REPORT_DAYS, MAX_REPORT_DAYS, MAX_REPORT_ROWS = 30, 36_500, 1_000
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
        WHERE chunk.document_id = document.id AND (chunk.expires_at IS NULL OR chunk.expires_at > now())
    ) stored
    WHERE (namespace_id, repo_id) IN (SELECT namespace_id, repo_id FROM execution_group)
    GROUP BY namespace_id, repo_id
)
SELECT execution_group.*, coalesce(documents, 0) AS documents, coalesce(chunks, 0) AS chunks
FROM execution_group LEFT JOIN repository USING (namespace_id, repo_id)
ORDER BY last_execution DESC, workflow_id, adapter, agent_id, repo_id, namespace_id
"""


def create_execution(namespace_id: int, workflow_id: str, payload: ExecutionIn) -> WorkflowExecution:
    """Store an execution and, unless `remember` is false, its memory, in one transaction. Raises InvalidField."""
    fields = payload.model_dump(exclude={"summary", "remember"})
    execution = WorkflowExecution(namespace_id=namespace_id, workflow_id=workflow_id, **fields)
    complete_times(execution)
    with transaction.atomic():
        if payload.remember:
            row, _ = add_one(namespace_id, build_execution_memory(execution, payload.summary))
            execution.memory_id = row["id"]
            tasks.embedding_trigger.notify_on_commit()
        execution.save(force_insert=True)
    return execution


def patch_execution(rows: WorkflowExecutionQuerySet, payload: ExecutionPatch) -> bool:
    """Update an execution and its memory, if that still exists. Return False when there is no such execution.

    Raises Conflict for a status change that goes back, and InvalidField for inconsistent times or a missing error.
    """
    with transaction.atomic():
        # The memory is locked first, in the same order as by a DELETE, whose trigger then updates the execution.
        memory = Memory.objects.alive().filter(pk__in=rows.values("memory_id")).select_for_update().first()
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
    for name, value in changes.items():
        setattr(execution, name, value)
    complete_times(execution)
    execution.save(update_fields=["status", "result", "error", "finished_at"])


def complete_times(execution: WorkflowExecution) -> None:
    """Fill in the times that were not given. Raises InvalidField for inconsistent times or a missing error."""
    now = datetime.now(UTC)
    execution.started_at = execution.started_at or min(execution.finished_at or now, now)
    if execution.status in FINISHED_STATUSES:  # the client's clock may be a little ahead of the server's
        execution.finished_at = execution.finished_at or max(execution.started_at, now)
        if execution.finished_at < execution.started_at:
            raise InvalidField("finished_at", "may not lie before started_at")
    elif execution.finished_at is not None:
        raise InvalidField("finished_at", "is only for an execution that is completed or failed")
    if execution.status == ExecutionStatus.FAILED and execution.error is None:
        raise InvalidField("error", "is required when the execution failed")


def build_execution_memory(execution: WorkflowExecution, summary: str | None) -> MemoryIn:
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
    )


def describe_execution(execution: WorkflowExecution) -> str:
    """Return the content of an execution's memory. It ends with the id, so that no two memories are duplicates."""
    agent = f", agent {execution.agent_id}" if execution.agent_id else ""
    repositories = f", on {', '.join(execution.repositories)}" if execution.repositories else ""
    when = execution.finished_at or execution.started_at
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
    """Replace the generated sentence and metadata; the summary and later edits of the memory stay."""
    content = memory.content.replace(sentence, describe_execution(execution))
    data = {"data": execution.result} if result else {}
    save_changes(memory, content=content, metadata=memory.metadata | build_metadata(execution), **data)
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
