"""How a memory is used: reads, when it will be forgotten, its relevance and the parts of that."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Exists
from django.db.models.functions import Now
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from memories.memory_types import NO_DECAY, Importance, MemoryType
from memories.models import LAST_USED, MIN_USES_TO_KEEP, PRESERVED_TAGS, UNUSED_PERIOD, Memory
from memories.retrieval.relevance import ACCESS_BOOST_SQL, DECAY_SQL, Relevance
from memory_site.core.admin.formatting import format_datetime, format_duration, format_number

FORGETTING_TASK = "memories.knowledge.tasks.forget_outdated"
NAMESPACE_FORGETS_NOTHING = "never: its namespace forgets nothing by itself"
FORGETTING_IS_OFF = "never: the schedule that forgets outdated memories is switched off"
RELEVANCE_PARTS = {"relevance": Relevance(), "decay": Relevance(DECAY_SQL), "boost": Relevance(ACCESS_BOOST_SQL)}


def build_use_context(memory: Memory) -> dict[str, Any]:
    """Return the cards "Use" and "Relevance". Raises Memory.DoesNotExist. At most two statements."""
    row = Memory.objects.filter(namespace_id=memory.namespace_id, pk=memory.pk)
    facts = row.annotate(
        **RELEVANCE_PARTS, last_used=LAST_USED, now=Now(), is_forgettable=Exists(row.forgettable())
    ).values(*RELEVANCE_PARTS, "last_used", "now", "is_forgettable")
    found = facts.get()
    return {
        "use": list(list_use_facts(memory, found)),
        "relevance": found["relevance"],
        "relevance_formula": explain_relevance(memory, found),
    }


def list_use_facts(memory: Memory, found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "Last read", format_datetime(memory.last_accessed_at) or "never"
    yield "Reads", format_number(memory.access_count)
    yield "Last stored or found by a search", f"{memory.last_seen_at:%Y-%m-%d}"
    if memory.update_count:
        yield "Stored again", f"{format_number(memory.update_count)} times, last {memory.last_updated:%Y-%m-%d %H:%M}"
    yield "Expires", describe_expiry(memory.expires_at)
    yield "Will be forgotten", describe_forgetting(memory, found)


def describe_expiry(expires_at: datetime | None) -> str:
    if expires_at is None:
        return "never"
    left = (expires_at - timezone.now()).total_seconds()
    return f"{expires_at:%Y-%m-%d %H:%M} UTC, in {format_duration(max(left, 0))}"


def describe_forgetting(memory: Memory, found: dict[str, Any]) -> str:
    if not memory.namespace.forgets_outdated:
        return NAMESPACE_FORGETS_NOTHING
    if not found["is_forgettable"]:
        return f"never by itself: {explain_keeping(memory)}"
    if not PeriodicTask.objects.filter(task=FORGETTING_TASK, enabled=True).exists():
        return FORGETTING_IS_OFF
    due = found["last_used"] + UNUSED_PERIOD
    when = "in the coming night" if due <= found["now"] else f"after {due:%Y-%m-%d}"
    return f"{when}, unless it is changed, read or found before"


def explain_keeping(memory: Memory) -> str:
    """Return which condition of `MemoryQuerySet.forgettable` it does not meet."""
    if memory.importance > Importance.LOW:
        return f"its importance is {memory.get_importance_display()}"
    if memory.access_count >= MIN_USES_TO_KEEP:
        return f"it was read {MIN_USES_TO_KEEP} times or more"
    if tags := [tag for tag in memory.tags if tag in PRESERVED_TAGS]:
        return f"it has the tag {tags[0]}"
    return "it is marked important" if memory.metadata.get("important") is True else "its insight was used"


def explain_relevance(memory: Memory, found: dict[str, Any]) -> str:
    """Return the formula of memories/retrieval/relevance.py with the numbers that PostgreSQL has put in."""
    half_life = MemoryType(memory.memory_type).half_life_hours
    decay = "this type does not fade" if half_life == NO_DECAY else f"half after {format_duration(half_life * 3600)}"
    boost = f" + {found['boost']:.2f} for its last read" if found["boost"] else ""
    return f"{memory.base_relevance:.2f} base × {found['decay']:.2f} for its age ({decay}){boost}"
