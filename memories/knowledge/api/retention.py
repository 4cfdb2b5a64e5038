"""/memories/forget-outdated."""

from ninja import Router

from memories.knowledge.retention import forget_outdated
from memories.knowledge.schemas.context import ForgetOutdatedIn
from memories.models import Memory
from memories.schemas import DeleteOut
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["memories"])


@router.post("/memories/forget-outdated", auth=write_access, response={200: DeleteOut, **PROBLEMS})
@write_operation
def forget_what_is_outdated(request: ApiRequest, payload: ForgetOutdatedIn):
    """Forget memories that nobody has used for 90 days, of LOW importance or less, used less than three times. What is
    tagged `preserve` or `important` stays, and what `metadata.important` marks. `dry_run` only counts."""
    mine = Memory.objects.in_namespace(request.auth.namespace_id)
    if payload.dry_run:
        return json_response({"matched": mine.outdated().count(), "deleted": 0})
    deleted = forget_outdated(mine)
    return json_response({"matched": deleted, "deleted": deleted})
