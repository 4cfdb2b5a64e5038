"""/memories/forget-outdated."""

from django.http import HttpRequest
from ninja import Router

from memories.knowledge.retention import forget_outdated
from memories.knowledge.schemas.context import ForgetOutdatedIn
from memories.models import Memory
from memories.schemas import DeleteOut
from memory_site.core.db.retry import surviving_deadlocks
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import writes
from sessions_app.idempotency import idempotent

router = Router(tags=["memories"])


@router.post("/memories/forget-outdated", auth=writes, response={200: DeleteOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def forget_what_is_outdated(request: HttpRequest, payload: ForgetOutdatedIn):
    """Forget memories that nobody has used for 90 days, of LOW importance or less, used less than three times. What is
    tagged `preserve` or `important` stays, and what `metadata.important` marks. `dry_run` only counts."""
    mine = Memory.objects.in_namespace(request.auth.namespace_id)
    if payload.dry_run:
        return answer({"matched": mine.outdated().count(), "deleted": 0})
    deleted = forget_outdated(mine)
    return answer({"matched": deleted, "deleted": deleted})
