"""Replace memories by another one, and bring them back.

Both memories have to be active, and their rows are locked in the order of their ids. So no memory comes to replace one
that it was replaced by, and of two that would replace the same one at once the later one is refused.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from memories.models import Memory
from memories.schemas import MemoryIn
from memories.states import State
from memory_site.core.errors import Conflict, InvalidField

#: What replaces them, and the memories to replace.
Replacement = tuple[UUID, Sequence[UUID]]


class Replaceable(NamedTuple):
    """What decides whether a memory can replace another one."""

    owner: str
    state: str
    superseded_by: UUID | None


def supersede(namespace_id: int, replacements: Iterable[Replacement], field: str = "replaces") -> None:
    """Replace memories of one namespace, in the order given; one that the same memory replaces already stays so.

    Raises InvalidField, for `field`, for memories that are not there, of another user or the same, and Conflict when
    one is not active.
    """
    pairs = [(old, by) for by, ids in replacements for old in ids]
    if pairs:
        with transaction.atomic():
            supersede_pairs(namespace_id, pairs, field)


def supersede_pairs(namespace_id: int, pairs: Sequence[tuple[UUID, UUID]], field: str) -> None:
    known = lock_memories(namespace_id, {pk for pair in pairs for pk in pair})
    for old, by in pairs:
        check_replacement(known, old, by, field)
        known[old] = known[old]._replace(state=State.SUPERSEDED, superseded_by=by)
    now = timezone.now()
    for by in dict.fromkeys(by for _, by in pairs):
        # Those that it replaces already are left as they are.
        rows = Memory.objects.filter(
            namespace_id=namespace_id, state=State.ACTIVE, pk__in=[o for o, b in pairs if b == by]
        )
        rows.update(state=State.SUPERSEDED, superseded_by=by, updated_at=now)


def lock_memories(namespace_id: int, ids: Iterable[UUID]) -> dict[UUID, Replaceable]:
    rows = Memory.objects.stored_in(namespace_id).filter(pk__in=list(ids)).order_by("pk")
    columns = ("pk", *Replaceable._fields)
    return {pk: Replaceable(*rest) for pk, *rest in rows.select_for_update(no_key=True).values_list(*columns)}


def check_replacement(known: dict[UUID, Replaceable], old: UUID, by: UUID, field: str) -> None:
    if old == by:
        raise InvalidField(field, "must be another memory")
    for pk in (old, by):
        if pk not in known:
            raise InvalidField(field, f"{pk} is no memory of this namespace")
    if known[old].owner != known[by].owner:
        raise InvalidField(field, "belongs to another user: a memory replaces those of its own user")
    if known[by].state != State.ACTIVE:
        raise Conflict(f"The memory {by} is {known[by].state} itself.")
    if known[old].state != State.ACTIVE and known[old].superseded_by != by:
        raise Conflict(describe_state(old, known[old]))


def describe_state(pk: UUID, memory: Replaceable) -> str:
    successor = f" by {memory.superseded_by}" if memory.superseded_by else ""
    return f"The memory {pk} is {memory.state}{successor} already."


def list_replacements(memories: Sequence[MemoryIn], ids: Sequence[UUID]) -> list[Replacement]:
    """Return what memories of a request replace; `ids` are those under which they are stored."""
    return [(pk, memory.replaces) for memory, pk in zip(memories, ids, strict=True) if memory.replaces]


def make_active(namespace_id: int, memory_id: UUID) -> bool:
    """Bring a superseded memory back; what replaced it stays. Return False if there is none.

    It is embedded again. Raises Conflict for a memory that is held back.
    """
    memory = Memory.objects.stored_in(namespace_id).filter(pk=memory_id)
    with transaction.atomic():
        state = memory.select_for_update(no_key=True).values_list("state", flat=True).first()
        if state not in (None, State.ACTIVE, State.SUPERSEDED):
            raise Conflict(f"The memory is {state}.")
        if state == State.SUPERSEDED:
            memory.update(state=State.ACTIVE, superseded_by=None, updated_at=timezone.now())
    return state is not None
