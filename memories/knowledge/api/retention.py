"""/memories/forget-outdated: deletion of outdated memories."""

from ninja import Router

from memories.knowledge.retention import forget_outdated
from memories.knowledge.schemas.retention import ForgetOutdatedIn
from memories.models import Memory
from memories.schemas import DeleteOut
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["memories"])


@router.post("/memories/forget-outdated", auth=write_access, response={200: DeleteOut, **PROBLEMS})
@write_operation
def forget_what_is_outdated(request: ApiRequest, payload: ForgetOutdatedIn):
    """Delete memories of LOW importance or less that have been used less than three times and not for 90 days. Memories
    tagged `preserve` or `important`, or with `metadata.important`, stay. `dry_run` only counts."""
    memories = Memory.objects.in_namespace(request.auth.namespace_id)
    if payload.dry_run:
        return json_response({"matched": memories.outdated().count(), "deleted": 0})
    deleted = forget_outdated(memories)
    return json_response({"matched": deleted, "deleted": deleted})
