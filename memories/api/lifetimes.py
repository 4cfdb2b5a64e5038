"""/memories/extend: let memories live on."""

from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Greatest, Now
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from memories.models import Memory
from memories.schemas import MAX_TTL_SECONDS
from memories.search.filters import UuidIn
from memory_site.core.db.actor import without_history
from memory_site.core.http.fields import InputSchema
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["memories"])


class ExtendIn(InputSchema):
    model_config = ConfigDict(
        json_schema_extra={"example": {"ids": ["01980000-0000-7000-8000-000000000000"], "ttl_seconds": 3600}}
    )

    ids: list[UuidIn] = Field(min_length=1, max_length=1000, description="1 to 1,000 memories.")
    ttl_seconds: int = Field(ge=1, le=MAX_TTL_SECONDS, description="How long they live from now at least.")


class ExtendOut(Schema):
    extended: int = Field(description="How many are there, expire, and live at least so long now.")


@router.post("/memories/extend", auth=write_access, response={200: ExtendOut, **PROBLEMS})
@write_operation
def extend_memories(request: ApiRequest, payload: ExtendIn):
    """Let memories that expire live at least so many seconds from now, for caches that keep what is read. None expires
    earlier than before, or at all if it did not. Nothing else but the ETag changes: no version is kept."""
    expires_at = Greatest(F("expires_at"), Now() + timedelta(seconds=payload.ttl_seconds))
    rows = Memory.objects.in_namespace(request.auth.namespace_id).filter(pk__in=payload.ids, expires_at__isnull=False)
    with without_history():
        return json_response({"extended": rows.update(expires_at=expires_at)})
