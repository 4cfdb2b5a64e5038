"""/jobs: long actions on many memories."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router

from memories.jobs.actions import get_action
from memories.jobs.actions.base import Action
from memories.jobs.create import Preview, check_parameters, create_job, preview, require_condition
from memories.jobs.describe import describe_action
from memories.jobs.files import stream_file
from memories.jobs.models import Job, find_job
from memories.jobs.run import cancel
from memories.jobs.schemas import JobIn, JobOut, JobPage, PreviewOut, StateName, to_job_out
from memories.jobs.undo import create_undo
from memories.models import Memory
from memories.schemas import OUT_COLUMNS, to_memory_out
from memory_site.core.errors import Conflict, InvalidField
from memory_site.core.http.fields import InputSchema
from memory_site.core.http.pagination import BY_CREATED_AT, paginate_by
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, job_access, read_access
from sessions_app.write_operations import write_operation

router = Router(tags=["jobs"])
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
FILE_SCHEMA: dict[str, Any] = {
    "responses": {200: {"description": "The file", "content": dict.fromkeys(("application/jsonl", "text/csv"), BINARY)}}
}


# The scope of deletions: those are wanted most when the disk is full.
@router.post("/jobs", auth=job_access, response={200: PreviewOut, 202: JobOut, **PROBLEMS})
@write_operation
def start_job(request: ApiRequest, payload: JobIn):
    """Have a worker change every memory that matches, batch by batch; `dry_run` only counts and shows ten.

    The job survives the loss of its worker, can be cancelled, and most can be undone while the trash holds what they
    changed. A job that deletes needs a condition.
    """
    namespace_id, action = request.auth.namespace_id, get_action(payload.action)
    if not action.in_api:
        raise InvalidField("action", "is not for `POST /jobs`: the console has it")
    selection = payload.build_selection(namespace_id)
    require_condition(action, selection)
    if payload.dry_run:
        parameters = check_parameters(namespace_id, action.name, payload.parameters)
        return json_response(to_preview_out(action, parameters, preview(action.name, selection)))
    job = create_job(namespace_id, action.name, payload.parameters, selection, request.auth.actor, payload.expected)
    return accept(job)


def to_preview_out(action: Action, parameters: InputSchema, shown: Preview) -> dict[str, Any]:
    samples = Memory.objects.filter(namespace_id__in=shown.by_namespace, pk__in=[each.pk for each in shown.samples])
    rows = samples.newest_first().values(*OUT_COLUMNS)
    return {
        "action": action.name,
        "description": describe_action(action, parameters, shown.matched),
        "matched": shown.matched,
        "samples": [to_memory_out(row) for row in rows],
        "warnings": shown.warnings,
    }


def accept(job: Job) -> HttpResponse:
    response = json_response(to_job_out(job), 202)
    response["Location"] = reverse("api:get_job", args=[job.pk])
    return response


@router.get("/jobs", auth=read_access, response={200: JobPage, **PROBLEMS})
def list_jobs(
    request: ApiRequest,
    state: StateName | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List jobs, newest first. Those of the console and of commands are among them."""
    rows = Job.objects.in_namespace(request.auth.namespace_id)
    rows = rows if state is None else rows.filter(state=state)
    return json_response(paginate_jobs(rows, limit, cursor))


def paginate_jobs(rows: Any, limit: int, cursor: str | None) -> dict[str, Any]:
    """Return a page of jobs. Their keys are read first: what is shown is computed from the whole row."""
    page = paginate_by(BY_CREATED_AT, rows.values("created_at", "id", "namespace_id"), limit, cursor, dict)
    keys = [row["id"] for row in page["results"]]
    jobs = rows.model.objects.filter(namespace_id__in={row["namespace_id"] for row in page["results"]}).in_bulk(keys)
    return page | {"results": [to_job_out(jobs[key]) for key in keys if key in jobs]}


@router.get("/jobs/{job_id}", auth=read_access, response={200: JobOut, **PROBLEMS}, url_name="get_job")
def get_job(request: ApiRequest, job_id: UUID):
    """Return a job with its progress, the memories that it had to leave, and its result."""
    return json_response(to_job_out(get_job_or_404(request, job_id)))


def get_job_or_404(request: ApiRequest, job_id: UUID) -> Job:
    job = find_job(request.auth.namespace_id, job_id)
    if job is None:
        raise Problem(404, "There is no such job.")
    return job


@router.post("/jobs/{job_id}/cancel", auth=job_access, response={200: JobOut, **PROBLEMS})
@write_operation
def cancel_job(request: ApiRequest, job_id: UUID):
    """Stop a job after the batch that it is at. What it has done stays done, and can be undone. 409 when it has
    ended."""
    job = get_job_or_404(request, job_id)
    if not cancel(job):
        raise Conflict("The job has ended.")
    job.refresh_from_db()
    return json_response(to_job_out(job))


@router.post("/jobs/{ended_job_id}/undo", auth=job_access, response={202: JobOut, **PROBLEMS})
@write_operation
def undo_job(request: ApiRequest, ended_job_id: UUID):
    """Have another job take back what this one changed, as long as the history holds it. A memory that was changed
    since stays, and is named in that job's log. 409 when there is nothing to undo."""
    return accept(create_undo(get_job_or_404(request, ended_job_id), request.auth.actor))


@router.get("/jobs/{export_job_id}/file", auth=read_access, response={200: None, **PROBLEMS}, openapi_extra=FILE_SCHEMA)
def download_job_file(request: ApiRequest, export_job_id: UUID):
    """Return the file that an export wrote, for seven days: JSON Lines for `import_memories`, or CSV."""
    response = stream_file(get_job_or_404(request, export_job_id))
    if response is None:
        raise Problem(404, "The job has no file, or no longer.")
    return response
