"""Expired memories are invisible, but occupy unique keys until the clean-up deletes them."""

from memories.storage import purge_expired
from sessions_app.auth import ApiRequest


def purge_expired_memories(request: ApiRequest) -> bool:
    """Delete the expired memories of the caller's namespace. Return whether there were any: with them gone, a write
    that a constraint refused may succeed (`write_operation(on_conflict=purge_expired_memories)`)."""
    return purge_expired(request.auth.namespace_id)
