"""/memories/forget-outdated: list and delete outdated memories, and have them deleted every night."""

from ninja import Query, Router

from memories.knowledge.retention import forget_outdated
from memories.knowledge.schemas.retention import ForgetOutdatedIn, NightlyIn, NightlyOut, OutdatedPage
from memories.models import Memory
from memories.schemas import OUT_COLUMNS, DeleteOut, to_memory_out
from memory_site.core.http.pagination import paginate
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, delete_access, read_access, write_access
from sessions_app.models import Namespace
from sessions_app.write_operations import write_operation

router = Router(tags=["memories"])


@router.post("/memories/forget-outdated", auth=delete_access, response={200: DeleteOut, **PROBLEMS})
@write_operation
def forget_what_is_outdated(request: ApiRequest, payload: ForgetOutdatedIn):
    """Delete memories of LOW importance or less that were used less than three times, and neither stored, changed,
    found by a search nor used for 90 days. Memories tagged `preserve` or `important`, or with `metadata.important`,
    stay. `dry_run` only counts."""
    memories = Memory.objects.in_namespace(request.auth.namespace_id)
    if payload.dry_run:
        return json_response({"matched": memories.outdated().count(), "deleted": 0})
    deleted = forget_outdated(request.auth.namespace_id)
    return json_response({"matched": deleted, "deleted": deleted})


@router.get("/memories/forget-outdated", auth=read_access, response={200: OutdatedPage, **PROBLEMS})
def list_outdated(request: ApiRequest, limit: int = Query(20, ge=1, le=100), cursor: str | None = None):
    """List the memories that are outdated now, and say whether they are deleted every night."""
    outdated = Memory.objects.in_namespace(request.auth.namespace_id).outdated()
    nightly = Namespace.objects.values_list("forgets_outdated", flat=True).get(pk=request.auth.namespace_id)
    return json_response({"nightly": nightly} | paginate(outdated, OUT_COLUMNS, limit, cursor, to_memory_out))


@router.put("/memories/forget-outdated", auth=write_access, response={200: NightlyOut, **PROBLEMS})
@write_operation
def switch_nightly_forgetting(request: ApiRequest, payload: NightlyIn):
    """Switch on or off that the namespace's outdated memories are deleted every night. It is off at first."""
    Namespace.objects.filter(pk=request.auth.namespace_id).update(forgets_outdated=payload.nightly)
    return json_response({"nightly": payload.nightly})
