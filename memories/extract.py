"""The place where insights are taken out of stored text. Who takes them registers here: this app knows nothing of them
but how they are marked."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol
from uuid import UUID

from memories.schemas import MemoryIn
from memories.types import MemoryType

if TYPE_CHECKING:
    from memories.models import Memory

MARK = "★ Insight"


class Added(NamedTuple):
    """Ids of memories in the order given, how many of them are new, and the insights that were found in them."""

    ids: list[UUID]
    created: int
    insights: list[UUID]


class Taker(Protocol):
    """Who adds memories that teach something, and hears of those that were changed; both in one transaction."""

    def add(self, namespace_id: int, memories: Sequence[MemoryIn], serving: str | None) -> Added: ...

    def late(self, namespace_id: int, stored: Sequence[tuple[UUID, MemoryIn]]) -> None: ...

    def hold(self, namespace_id: int) -> None: ...

    def revised(self, memory: "Memory", changed: Collection[str]) -> None: ...


_takers: list[Taker] = []


def register(taker: Taker) -> None:
    _takers[:] = [taker]


def teaches(memory: MemoryIn) -> bool:
    """Whether it is an insight, or one may stand in it. Nearly free, because every memory is asked."""
    return bool(_takers) and (MARK in memory.content or memory.memory_type == MemoryType.INSIGHT)


def add(namespace_id: int, memories: Sequence[MemoryIn], serving: str | None) -> Added:
    """Add memories of which one teaches, and what they teach: all or nothing."""
    return _takers[0].add(namespace_id, memories, serving)


def late(namespace_id: int, stored: Sequence[tuple[UUID, MemoryIn]]) -> None:
    """Take out what such memories teach that were added as they are, at the end of a long transaction."""
    if _takers and stored:
        _takers[0].late(namespace_id, stored)


def before(namespace_id: int, content: str | None) -> None:
    """To be called before a memory is locked that will have this content: whoever keeps insights holds them first."""
    if _takers and content is not None and MARK in content:
        _takers[0].hold(namespace_id)


def revised(memory: "Memory", changed: Collection[str]) -> None:
    """To be told of every memory after some of its fields were changed."""
    if _takers and not {"content", "memory_type"}.isdisjoint(changed):
        _takers[0].revised(memory, changed)
