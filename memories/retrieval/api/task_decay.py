"""/users/{user_id}/forget and /users/{user_id}/finish-task: delete old memories, and lower those of a task."""

from datetime import timedelta

from ninja import Router

from memories.models import Memory
from memories.retrieval.schemas import FinishTaskIn, FinishTaskOut, ForgetIn
from memories.retrieval.task_decay import finish_task
from memories.schemas import DeleteOut
from memories.search.filters import Filters
from memory_site.core.http.fields import Label
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, delete_access, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["users"])


@router.post("/users/{path:user_id}/forget", auth=delete_access, response={200: DeleteOut, **PROBLEMS})
@write_operation
def forget_memories(request: ApiRequest, user_id: Label, payload: ForgetIn):
    """Delete a user's memories that have not been stored or updated for so long. Memories tagged `preserve` or
    `important` and those with `metadata.important` stay. `dry_run` only counts."""
    mine = Memory.objects.in_namespace(request.auth.namespace_id).filter(user_id=user_id)
    rows = mine.matching(Filters(memory_types=payload.memory_types)).stale(timedelta(hours=payload.older_than_hours))
    if payload.dry_run:
        return json_response({"matched": rows.count(), "deleted": 0})
    deleted = rows.delete()[0]
    return json_response({"matched": deleted, "deleted": deleted})


@router.post("/users/{path:user_id}/finish-task", auth=write_access, response={200: FinishTaskOut, **PROBLEMS})
@write_operation
def end_task(request: ApiRequest, user_id: Label, payload: FinishTaskIn):
    """Finish a task: halve the relevance of the selections, search results and temporary state of its session or
    workflow. Each call halves it again, so a retry needs the same `Idempotency-Key`."""
    lowered = finish_task(request.auth.namespace_id, user_id, payload.session_id, payload.workflow_id)
    return json_response({"lowered": lowered})
