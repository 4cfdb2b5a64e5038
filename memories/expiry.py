"""Expired memories are invisible, but occupy unique keys until the clean-up deletes them."""

from memories.models import Memory
from sessions_app.auth import ApiRequest


def purge_expired_memories(request: ApiRequest) -> bool:
    """Delete the expired memories of the caller's namespace. Return whether there were any: with them gone, a write
    that a constraint refused may succeed (`write_operation(on_conflict=purge_expired_memories)`)."""
    return bool(Memory.objects.filter(namespace_id=request.auth.namespace_id).expired().delete()[0])
