"""Expired memories are invisible, but occupy unique keys until the clean-up deletes them."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Count, F, Q
from django.db.models.functions import Now

from memories.models import Memory, MemoryQuerySet
from memories.storage import purge_expired
from memory_site.core.db.clocks import measure_clock_offset
from memory_site.core.db.locks import bounded_transaction
from memory_site.core.db.retry import retry_on_deadlock
from sessions_app.auth import ApiRequest
from sessions_app.namespaces import find_namespaces

DELETE_BATCH_SIZE = 1_000
#: Nothing is deleted for good by a clock that another one contradicts by more.
MAX_CLOCK_OFFSET_SECONDS = 300
#: Of a namespace, in one run of the command: more rows, or a larger share of at least MIN_ASKED, need a confirmation.
MAX_UNASKED, MAX_UNASKED_SHARE, MIN_ASKED = 10_000, 0.2, 1_000


class ClocksDiffer(Exception):
    """The clock of this process or that of the database is wrong."""

    def __init__(self, offset: float) -> None:
        direction = "ahead of" if offset > 0 else "behind"
        super().__init__(
            f"The clock of this machine is {abs(offset):.0f} s {direction} the database's. Nothing is deleted before "
            "one of the two is corrected."
        )


@dataclass(frozen=True)
class ExpiredCount:
    """How many memories a namespace holds, and how many of them have expired."""

    namespace_id: int
    namespace: str
    memories: int
    expired: int

    @property
    def is_much(self) -> bool:
        """Return whether the command asks before it deletes them: their expiry may have been set by mistake."""
        is_large_share = self.expired >= MIN_ASKED and self.expired > MAX_UNASKED_SHARE * self.memories
        return self.expired > MAX_UNASKED or is_large_share


def purge_expired_memories(request: ApiRequest) -> bool:
    """Delete the expired memories of the caller's namespace. Return whether there were any: with them gone, a write
    that a constraint refused may succeed (`write_operation(on_conflict=purge_expired_memories)`)."""
    return purge_expired(request.auth.namespace_id)


def check_clocks() -> None:
    """Raise ClocksDiffer if nothing may be deleted now."""
    offset = measure_clock_offset()
    if abs(offset) > MAX_CLOCK_OFFSET_SECONDS:
        raise ClocksDiffer(offset)


def count_expired(namespace_id: int | None = None) -> list[ExpiredCount]:
    """Count those of the namespaces that have any, or of one, by name."""
    namespaces = find_namespaces(Memory.objects.expired()) if namespace_id is None else [namespace_id]
    counts = (
        Memory.objects.filter(namespace__in=namespaces)
        .values("namespace_id", name=F("namespace__name"))
        .annotate(memories=Count("pk"), expired=Count("pk", filter=Q(expires_at__lte=Now())))
        .filter(expired__gt=0)
        .order_by("name")
    )
    return [ExpiredCount(*row) for row in counts.values_list("namespace_id", "name", "memories", "expired")]


def delete_expired_memories(namespace_id: int) -> int:
    """Delete the expired memories of a namespace. Return how many."""
    return sum(delete_batches(namespace_id))


def delete_batches(namespace_id: int) -> Iterator[int]:
    """Delete the expired memories of a namespace in batches, each a transaction. Yield how many each deleted.

    Rows that another transaction holds are left for the next run: their expiry may be extended there.
    """
    expired = Memory.objects.filter(namespace_id=namespace_id).expired()
    while deleted := delete_batch(expired):
        yield deleted


@retry_on_deadlock
def delete_batch(expired: MemoryQuerySet) -> int:
    # Two statements: PostgreSQL may run a subquery that skips locked rows more than once, beyond its limit.
    with bounded_transaction():
        free = expired.select_for_update(skip_locked=True).values_list("pk", flat=True)
        keys = list(free[:DELETE_BATCH_SIZE])
        return expired.filter(pk__in=keys).delete()[0] if keys else 0
