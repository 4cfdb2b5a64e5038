"""/memories/{memory_id}/supersede and …/state: hide a memory behind another one, and show it again."""

from typing import Literal
from uuid import UUID

from ninja import Router
from pydantic import ConfigDict, Field

from memories import tasks
from memories.api.memories import get_memory_queryset, memory_not_found
from memories.api.versions import read_memory_response
from memories.schemas import MemoryOut
from memories.search.filters import UuidIn
from memories.supersede import make_active, supersede
from memory_site.core.http.fields import InputSchema
from memory_site.core.http.responses import PROBLEMS
from sessions_app.auth import ApiRequest, change_access
from sessions_app.write_operations import write_operation

router = Router(tags=["memories"])


class SupersedeIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"by": "01980000-0000-7000-8000-000000000000"}})

    by: UuidIn = Field(description="The memory that replaces this one; active, and of the same user.")


class StateChangeIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"state": "active"}})

    state: Literal["active"] = Field(description="Only a superseded memory can be made active.")


@router.post("/memories/{memory_id}/supersede", auth=change_access, response={200: MemoryOut, **PROBLEMS})
@write_operation
def supersede_memory(request: ApiRequest, memory_id: UUID, payload: SupersedeIn):
    """Replace a memory by another one of the same user. No search, recall, context or list shows it any more; it can be
    read by its id, and listed with `states=superseded`. Both have to be active (409)."""
    if not get_memory_queryset(request, memory_id).exists():
        raise memory_not_found()
    supersede(request.auth.namespace_id, [(payload.by, [memory_id])], "by")
    return read_memory_response(request.auth.namespace_id, memory_id)


@router.post("/memories/{memory_id}/state", auth=change_access, response={200: MemoryOut, **PROBLEMS})
@write_operation
def change_state(request: ApiRequest, memory_id: UUID, payload: StateChangeIn):
    """Make a superseded memory active again. It is found by its words at once, and by its meaning when it is embedded
    again. The memory that replaced it stays as it is."""
    if not make_active(request.auth.namespace_id, memory_id):
        raise memory_not_found()
    tasks.embedding_trigger.notify_on_commit()
    return read_memory_response(request.auth.namespace_id, memory_id)
