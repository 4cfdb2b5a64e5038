"""/workflows: what was run, how it went, and what is remembered of it."""

from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router

from ingestion.models import WorkflowExecution, WorkflowExecutionQuerySet
from ingestion.schemas.workflows import (
    EXECUTION_COLUMNS,
    ExecutionIn,
    ExecutionOut,
    ExecutionPage,
    ExecutionPatch,
    ReportOut,
    State,
)
from ingestion.workflows import DAYS, LONGEST_DAYS, change, keep, report
from memories.expiry import making_way
from memory_site.core.db.retry import surviving_deadlocks
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import page
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import reads, writes
from sessions_app.idempotency import idempotent

router = Router(tags=["workflows"])
EXECUTIONS = "/workflows/{path:workflow_id}/executions"


def the_execution(request: HttpRequest, workflow_id: str, execution_id: UUID) -> WorkflowExecutionQuerySet:
    rows = WorkflowExecution.objects.in_namespace(request.auth.namespace_id)
    return rows.filter(workflow_id=workflow_id, pk=execution_id)


def missing() -> Problem:
    return Problem(404, "There is no such execution.")


@router.get("/workflows/report", auth=reads, response={200: ReportOut, **PROBLEMS})
def report_workflows(request: HttpRequest, days: int = Query(DAYS, ge=1, le=LONGEST_DAYS)):
    """What was started in the last days, by workflow, adapter, agent and repository, with what is kept of the
    repository: the newest first, at most 1,000 rows. An execution counts for each of its repositories."""
    return answer({"results": report(request.auth.namespace_id, days), "next": None, "previous": None})


@router.post(EXECUTIONS, auth=writes, response={201: ExecutionOut, **PROBLEMS})
@surviving_deadlocks
@making_way
@idempotent
def add_execution(request: HttpRequest, workflow_id: Label, payload: ExecutionIn):
    """Keep an execution and, unless `remember` is false, a memory of it: both or neither."""
    execution = keep(request.auth.namespace_id, workflow_id, payload)
    return answer({name: getattr(execution, name) for name in EXECUTION_COLUMNS}, 201)


@router.get(EXECUTIONS, auth=reads, response={200: ExecutionPage, **PROBLEMS})
def list_executions(
    request: HttpRequest,
    workflow_id: Label,
    status: State | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """Executions of a workflow, newest first."""
    rows = WorkflowExecution.objects.in_namespace(request.auth.namespace_id).filter(workflow_id=workflow_id)
    rows = rows if status is None else rows.filter(status=status)
    return answer(page(rows, EXECUTION_COLUMNS, limit, cursor, dict))


@router.get(EXECUTIONS + "/{execution_id}", auth=reads, response={200: ExecutionOut, **PROBLEMS})
def get_execution(request: HttpRequest, workflow_id: Label, execution_id: UUID):
    """One execution."""
    row = the_execution(request, workflow_id, execution_id).values(*EXECUTION_COLUMNS).first()
    if row is None:
        raise missing()
    return answer(row)


@router.patch(EXECUTIONS + "/{execution_id}", auth=writes, response={200: ExecutionOut, **PROBLEMS})
@surviving_deadlocks
@making_way
def update_execution(request: HttpRequest, workflow_id: Label, execution_id: UUID, payload: ExecutionPatch):
    """Say what has become of an execution: it goes from pending to running to its end, and never back (409). Its memory
    tells the same, while it is there."""
    if not change(the_execution(request, workflow_id, execution_id), payload):
        raise missing()
    return get_execution(request, workflow_id, execution_id)
