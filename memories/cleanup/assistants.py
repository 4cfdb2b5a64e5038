"""The clean-up's assistants: each a rule, how many memories it finds, and the list of them."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import OperationalError
from django.db.models import QuerySet
from django.utils import timezone
from psycopg.errors import QueryCanceled

from memories.cleanup.conditions import FINDINGS, has_length, is_unused
from memories.cleanup.inspect import is_outdated
from memories.jobs.models import Job
from memories.memory_types import Importance
from memories.models import Memory, MemoryQuerySet
from memories.states import EVERY_STATE, State
from memory_site.core.caches import Cache
from memory_site.core.db.timeouts import limit_statements

#: Counting stops here, and after so long: a rule without an index reads every memory.
MAX_COUNTED, MAX_COUNT_SECONDS = 10_000, 1.5
COUNT_SECONDS = 60.0
SHORT_CHARACTERS, LONG_CHARACTERS = 15, 20_000
counts: Cache[tuple, int | None] = Cache(1_000, COUNT_SECONDS)


@dataclass(frozen=True)
class UnusedRule:
    """Memories of at most this importance that were neither stored, changed, found nor used for so many days, and used
    less often than that before. Preserved and important ones are never among them."""

    days: int = 90
    max_importance: int = Importance.LOW.value
    min_uses: int = 3

    def select(self, memories: MemoryQuerySet) -> MemoryQuerySet:
        unused = is_unused(timezone.now() - timedelta(days=self.days))
        return memories.filter(unused, importance__lte=self.max_importance, access_count__lt=self.min_uses)


@dataclass(frozen=True)
class Assistant:
    """`parameters` are those of the memories list, which then shows what the rule finds."""

    name: str
    title: str
    explanation: str
    parameters: dict[str, Any] = field(default_factory=dict)


ASSISTANTS = {
    each.name: each
    for each in (
        Assistant(
            "duplicate",
            "Near duplicates",
            "Say nothing that another memory does not say as well.",
            {"finding": "duplicate"},
        ),
        Assistant("unused", "Unused", "Not stored, changed, found or used for long, and not important."),
        Assistant(
            "secret",
            "Look like secrets",
            "Have keys, tokens or passwords in their text, data or metadata.",
            {"finding": "secret", "states": "all"},
        ),
        Assistant(
            "short",
            "Very short",
            f"At most {SHORT_CHARACTERS} characters: often fragments.",
            {"max_characters": SHORT_CHARACTERS},
        ),
        Assistant(
            "long",
            "Very long",
            f"{LONG_CHARACTERS:,} characters or more: found less well than several short ones.",
            {"min_characters": LONG_CHARACTERS},
        ),
        Assistant(
            "superseded",
            "Superseded",
            "Replaced by another memory and found by nothing. They can be brought back.",
            {"states": "superseded"},
        ),
        Assistant(
            "lost_successor",
            "Superseded by nothing",
            "Hidden, but what replaced them is gone.",
            {"finding": "lost_successor", "states": "superseded"},
        ),
        Assistant(
            "lost_chunk",
            "Chunks without a document",
            "No ingestion replaces or removes them.",
            {"finding": "lost_chunk"},
        ),
        Assistant(
            "lost_insight",
            "Insights without their record",
            "Of the type insight, but no search of insights finds them.",
            {"finding": "lost_insight"},
        ),
        Assistant(
            "refused",
            "Refused by the embedder",
            "Their words find them, their meaning does not.",
            {"embedding": "refused"},
        ),
    )
}


def select(name: str, namespace_id: int | None, unused: UnusedRule | None = None) -> MemoryQuerySet:
    """Return the memories that an assistant finds, of one namespace or of all."""
    parameters = ASSISTANTS[name].parameters
    states = {"all": EVERY_STATE, State.SUPERSEDED: [State.SUPERSEDED]}.get(parameters.get("states", ""))
    memories = Memory.objects.alive(states)
    if namespace_id is not None:
        memories = memories.filter(namespace_id=namespace_id)
    if name == "unused":
        return (unused or UnusedRule()).select(memories)
    if name == "refused":
        return memories.refused()
    if name in ("short", "long"):
        return memories.filter(has_length(parameters.get("min_characters"), parameters.get("max_characters")))
    return memories.filter(FINDINGS[name]()) if name in FINDINGS else memories


def count(name: str, namespace_id: int | None, unused: UnusedRule | None = None) -> int | None:
    """Return how many memories an assistant finds, at most MAX_COUNTED + 1; None if counting takes too long. The answer
    may be a minute old, but is never older than the last step of a job."""
    key = (name, namespace_id, unused, find_last_job_step(namespace_id))
    if (known := counts.get(key)) is not None:
        return known
    found = count_bounded(select(name, namespace_id, unused))
    counts.set(key, found)
    return found


def find_last_job_step(namespace_id: int | None) -> tuple:
    """Return what changes with each batch and each end of the newest job: it may have changed what is counted."""
    jobs = Job.objects.order_by("-created_at", "-pk")
    jobs = jobs if namespace_id is None else jobs.filter(namespace_id=namespace_id)
    return jobs.values_list("pk", "done", "state").first() or ()


def count_bounded(rows: QuerySet) -> int | None:
    try:
        with limit_statements(MAX_COUNT_SECONDS):
            return rows.order_by().values("pk")[: MAX_COUNTED + 1].count()
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            return None
        raise


def count_not_inspected(namespace_id: int | None) -> int | None:
    memories = Memory.objects.alive(EVERY_STATE).filter(is_outdated())
    return count_bounded(memories if namespace_id is None else memories.filter(namespace_id=namespace_id))
