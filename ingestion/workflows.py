"""Executions of workflows: each is kept, and changed, in one transaction with its memory; one statement reports all."""

from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from ingestion.models import FINISHED_STATUSES, ExecutionStatus, WorkflowExecution, WorkflowExecutionQuerySet
from ingestion.schemas.workflows import REPORT_COLUMNS, ExecutionIn, ExecutionPatch
from memories import tasks
from memories.add import add_one
from memories.edit import save_changes
from memories.models import Memory
from memories.schemas import MemoryIn
from memories.types import MemoryType
from memory_site.core.errors import Conflict, InvalidField

#: 36,500 days, a century, reach behind the earliest moment that is kept.
DEFAULT_REPORT_DAYS, MAX_REPORT_DAYS, MAX_REPORT_ROWS = 30, 36_500, 1_000
STATUS_PHRASES = {
    "pending": "pending since",
    "running": "running since",
    "completed": "completed at",
    "failed": "failed at",
}
# Only forward; both ends are equally far.
STATUS_ORDER = {"pending": 0, "running": 1, "completed": 2, "failed": 2}
# An execution counts for each of its repositories. Documents are counted once for each of these, not for each row.
SELECT_WORKFLOW_REPORT_SQL = """
WITH run AS (
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
kept AS (
    SELECT namespace_id, repo_id, count(*) AS documents, sum(chunk_count) AS chunks
    FROM ingestion_document
    WHERE (namespace_id, repo_id) IN (SELECT namespace_id, repo_id FROM run)
    GROUP BY namespace_id, repo_id
)
SELECT run.*, coalesce(documents, 0) AS documents, coalesce(chunks, 0) AS chunks
FROM run LEFT JOIN kept USING (namespace_id, repo_id)
ORDER BY last_execution DESC, workflow_id, adapter, agent_id, repo_id, namespace_id
"""


def create_execution(namespace_id: int, workflow_id: str, said: ExecutionIn) -> WorkflowExecution:
    """Keep an execution and, unless that is not wanted, its memory: both or neither. Raises Problem 422."""
    told = said.model_dump(exclude={"summary", "remember"})
    execution = WorkflowExecution(namespace_id=namespace_id, workflow_id=workflow_id, **told)
    complete_times(execution)
    with transaction.atomic():
        if said.remember:
            row, _ = add_one(namespace_id, build_execution_memory(execution, said.summary))
            execution.memory_id = row["id"]
            tasks.embedding_trigger.notify_on_commit()
        execution.save(force_insert=True)
    return execution


def patch_execution(rows: WorkflowExecutionQuerySet, said: ExecutionPatch) -> bool:
    """Say what has become of an execution, in its memory as well while that is there. False when there is no such
    execution. Raises Problem 409 when it would go back, 422 when the facts do not fit together."""
    with transaction.atomic():
        # The memory first: whoever deletes one locks it before the row that names it.
        memory = Memory.objects.alive().filter(pk__in=rows.values("memory_id")).select_for_update().first()
        execution = rows.select_for_update().first()
        if execution is None:
            return False
        sentence = describe_execution(execution)
        apply_changes(execution, said.model_dump(exclude_unset=True))
        if memory is not None and memory.pk == execution.memory_id:
            update_memory(memory, execution, sentence, result="result" in said.model_fields_set)
    return True


def apply_changes(execution: WorkflowExecution, changes: dict[str, Any]) -> None:
    status = changes.get("status", execution.status)
    if status != execution.status and STATUS_ORDER[status] <= STATUS_ORDER[execution.status]:
        raise Conflict(f"The execution is {execution.status}, and cannot become {status}.")
    for name, value in changes.items():
        setattr(execution, name, value)
    complete_times(execution)
    execution.save(update_fields=["status", "result", "error", "finished_at"])


def complete_times(execution: WorkflowExecution) -> None:
    """Its times where nobody told them. Raises Problem 422 when what was told does not fit together."""
    now, over = datetime.now(UTC), execution.status in FINISHED_STATUSES
    execution.started_at = execution.started_at or min(execution.finished_at or now, now)
    if over:  # a start may lie a little ahead of our clock
        execution.finished_at = execution.finished_at or max(execution.started_at, now)
    elif execution.finished_at is not None:
        raise InvalidField("finished_at", "is only for an execution that is completed or failed")
    if over and execution.finished_at < execution.started_at:
        raise InvalidField("finished_at", "may not lie before started_at")
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
    """What is remembered of an execution. Its id stands at the end, so that no two of them are the same memory."""
    agent = f", agent {execution.agent_id}" if execution.agent_id else ""
    places = f", on {', '.join(execution.repositories)}" if execution.repositories else ""
    when = execution.finished_at or execution.started_at
    state = f"{STATUS_PHRASES[execution.status]} {when:%Y-%m-%d %H:%M:%S} UTC"
    took = f", after {(when - execution.started_at).total_seconds():.1f} s" if execution.finished_at else ""
    error = f"\nError: {execution.error}\n" if execution.error else " "
    return (
        f"Workflow {execution.workflow_id} by {execution.adapter}{agent}{places}, {state}{took}."
        f"{error}Execution {execution.pk}."
    )


def build_metadata(execution: WorkflowExecution) -> dict[str, str]:
    return {"execution_id": str(execution.pk), "status": execution.status}


def update_memory(memory: Memory, execution: WorkflowExecution, sentence: str, *, result: bool) -> None:
    """Only what was written by us changes: a summary, and whatever somebody wrote into the memory since, stays."""
    content = memory.content.replace(sentence, describe_execution(execution))
    data = {"data": execution.result} if result else {}
    save_changes(memory, content=content, metadata=memory.metadata | build_metadata(execution), **data)
    tasks.embedding_trigger.notify_on_commit()


def fetch_report(namespace_id: int, days: int) -> list[dict[str, Any]]:
    """Executions of the last days by workflow, adapter, agent and repository, with what is kept of the repository. The
    newest first, at most 1,000 rows."""
    return [{name: row[name] for name in REPORT_COLUMNS} for row in fetch_report_with_namespaces(namespace_id, days)]


def fetch_report_with_namespaces(namespace_id: int | None, days: int) -> list[dict[str, Any]]:
    """The same of one namespace or, for operators, of all; each row with its namespace_id."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_WORKFLOW_REPORT_SQL, {"namespace": namespace_id, "days": days, "limit": MAX_REPORT_ROWS})
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]
