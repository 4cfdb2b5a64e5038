"""What the clean-up looks for, as conditions on memories: the same for the page, the lists, jobs and the command."""

from collections.abc import Callable
from datetime import datetime

from django.db.models import Exists, OuterRef, Q
from django.db.models.lookups import LessThan

from memories.cleanup.models import Duplicate, Inspection
from memories.memory_types import MemoryType
from memories.models import LAST_USED, PRESERVED_TAGS, Memory
from memories.states import State, is_alive, not_expired

#: What the pipeline calls itself as the source of a chunk.
INGESTION_SOURCE = "ingestion"


def of_memory() -> dict[str, OuterRef]:
    return {"namespace": OuterRef("namespace"), "memory": OuterRef("pk")}


def is_duplicate() -> Q:
    """Select memories that a living one can replace, unless a person has said that it cannot."""
    winners = Memory.objects.filter(is_alive(), namespace=OuterRef("namespace"), pk=OuterRef("winner_id"))
    return Q(Exists(Duplicate.objects.filter(Exists(winners), dismissed=False, **of_memory())))


def has_secret() -> Q:
    return Q(Exists(Inspection.objects.filter(~Q(secrets=[]), **of_memory())))


def has_length(least: int | None, most: int | None) -> Q:
    bounds = {"characters__gte": least, "characters__lte": most}
    given = {name: value for name, value in bounds.items() if value is not None}
    return Q(Exists(Inspection.objects.filter(**given, **of_memory())))


def is_unused(since: datetime) -> Q:
    """Select memories neither stored, changed, found nor used since then, except preserved and important ones."""
    return Q(LessThan(LAST_USED, since)) & ~Q(tags__overlap=PRESERVED_TAGS) & ~Q(metadata__contains={"important": True})


def is_lost_insight() -> Q:
    """Select memories of type insight that no search of insights can find."""
    return Q(memory_type=MemoryType.INSIGHT, insight=None)


def is_lost_chunk() -> Q:
    """Select chunks of documents that are not there: no ingestion replaces them."""
    return Q(memory_type=MemoryType.RAG, document_id=None, source_system=INGESTION_SOURCE)


def has_lost_successor() -> Q:
    """Select memories that are hidden although what replaced them is gone."""
    successors = Memory.objects.filter(not_expired(), namespace=OuterRef("namespace"), pk=OuterRef("superseded_by"))
    return Q(state=State.SUPERSEDED) & ~Q(Exists(successors))


#: By name, as a link of the console has it.
FINDINGS: dict[str, Callable[[], Q]] = {
    "duplicate": is_duplicate,
    "secret": has_secret,
    "lost_insight": is_lost_insight,
    "lost_chunk": is_lost_chunk,
    "lost_successor": has_lost_successor,
}
