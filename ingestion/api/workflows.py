"""/workflows: executions of workflows and the report over them."""

from uuid import UUID

from ninja import Query, Router

from ingestion.models import WorkflowExecution, WorkflowExecutionQuerySet
from ingestion.schemas.workflows import (
    EXECUTION_COLUMNS,
    ExecutionIn,
    ExecutionOut,
    ExecutionPage,
    ExecutionPatch,
    ExecutionState,
    ReportOut,
)
from ingestion.workflows import DEFAULT_REPORT_DAYS, MAX_REPORT_DAYS, create_execution, fetch_report, patch_execution
from memories.expiry import purge_expired_memories
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import paginate
from memory_site.core.http.path_labels import PathLabel
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["workflows"])
EXECUTIONS_PATH = "/workflows/{path:workflow_id}/executions"


def get_execution_queryset(request: ApiRequest, workflow_id: str, execution_id: UUID) -> WorkflowExecutionQuerySet:
    rows = WorkflowExecution.objects.in_namespace(request.auth.namespace_id)
    return rows.filter(workflow_id=workflow_id, pk=execution_id)


def execution_not_found() -> Problem:
    return Problem(404, "There is no such execution.")


@router.get("/workflows/report", auth=read_access, response={200: ReportOut, **PROBLEMS})
def report_workflows(request: ApiRequest, days: int = Query(DEFAULT_REPORT_DAYS, ge=1, le=MAX_REPORT_DAYS)):
    """Report the executions started in the last days by workflow, adapter, agent and repository, with the repository's
    documents: latest execution first, at most 1,000 rows. An execution counts for each of its repositories."""
    return json_response({"results": fetch_report(request.auth.namespace_id, days), "next": None, "previous": None})


@router.post(EXECUTIONS_PATH, auth=write_access, response={201: ExecutionOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def add_execution(request: ApiRequest, workflow_id: PathLabel, payload: ExecutionIn):
    """Store an execution and, unless `remember` is false, a memory of it, in one transaction."""
    execution = create_execution(request.auth.namespace_id, workflow_id, payload)
    return json_response({name: getattr(execution, name) for name in EXECUTION_COLUMNS}, 201)


@router.get(EXECUTIONS_PATH, auth=read_access, response={200: ExecutionPage, **PROBLEMS})
def list_executions(
    request: ApiRequest,
    workflow_id: Label,
    status: ExecutionState | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List the executions of a workflow, newest first."""
    rows = WorkflowExecution.objects.in_namespace(request.auth.namespace_id).filter(workflow_id=workflow_id)
    rows = rows if status is None else rows.filter(status=status)
    return json_response(paginate(rows, EXECUTION_COLUMNS, limit, cursor, dict))


@router.get(EXECUTIONS_PATH + "/{execution_id}", auth=read_access, response={200: ExecutionOut, **PROBLEMS})
def get_execution(request: ApiRequest, workflow_id: Label, execution_id: UUID):
    """Return one execution."""
    row = get_execution_queryset(request, workflow_id, execution_id).values(*EXECUTION_COLUMNS).first()
    if row is None:
        raise execution_not_found()
    return json_response(row)


@router.patch(EXECUTIONS_PATH + "/{execution_id}", auth=change_access, response={200: ExecutionOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def update_execution(request: ApiRequest, workflow_id: Label, execution_id: UUID, payload: ExecutionPatch):
    """Update an execution: its status goes from pending to running to completed or failed, and never back (409). Its
    memory, if it still exists, is updated too."""
    rows = get_execution_queryset(request, workflow_id, execution_id)
    if not patch_execution(request.auth.namespace_id, rows, payload):
        raise execution_not_found()
    return get_execution(request, workflow_id, execution_id)
