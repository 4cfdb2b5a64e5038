"""Where a memory came from. Each app registers a function that knows one kind of origin."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models.functions import Left
from django.urls import reverse

from memories.console_urls import build_list_query, get_memory_url
from memories.memory_types import MemoryType
from memories.models import Memory
from memory_site.core.admin.formatting import truncate
from sessions_app.models import Message

MAX_WORDS = 160
#: A memory that is dated so much earlier than it was stored was imported.
MIN_IMPORT_LAG = timedelta(minutes=5)


@dataclass(frozen=True)
class Origin:
    """`kind` is a word for the place, `words` its name, `note` a part of it, such as lines."""

    kind: str
    words: str
    url: str | None = None
    note: str = ""


OriginFinder = Callable[[Memory], Iterable[Origin]]
origin_finders: list[OriginFinder] = []


def register_origin(finder: OriginFinder) -> OriginFinder:
    """Add a function that returns the origins of one kind. It takes at most one statement."""
    origin_finders.append(finder)
    return finder


def find_origins(memory: Memory) -> list[Origin]:
    return [origin for finder in origin_finders for origin in finder(memory)]


@register_origin
def find_message(memory: Memory) -> Iterator[Origin]:
    messages = Message.objects.in_namespace(memory.namespace_id).filter(memory_id=memory.pk).order_by("created_at")
    message = messages.select_related("conversation").defer("content", "metadata").first()
    if message is not None:
        url = reverse("admin:sessions_app_conversation_change", args=[message.conversation_id])
        said = f"said by the {message.role}, {message.created_at:%Y-%m-%d %H:%M} UTC"
        yield Origin("Conversation", truncate(str(message.conversation), MAX_WORDS), url, said)


@register_origin
def find_insight_source(memory: Memory) -> Iterator[Origin]:
    insight = getattr(memory, "insight", None) if memory.memory_type == MemoryType.INSIGHT else None
    if insight is None or insight.source_memory_id is None:
        return
    sources = Memory.objects.filter(namespace_id=memory.namespace_id, pk=insight.source_memory_id)
    source = sources.annotate(words=Left("content", MAX_WORDS)).values_list("words", flat=True).first()
    if source is not None:
        yield Origin("Insight of", truncate(source, MAX_WORDS), get_memory_url(Memory(pk=insight.source_memory_id)))


@register_origin
def find_tool(memory: Memory) -> Iterator[Origin]:
    tool = memory.metadata.get("tool")
    if memory.memory_type == MemoryType.TOOL_OUTPUT and isinstance(tool, str):
        query = build_list_query(namespace=memory.namespace_id, source_system=memory.source_system)
        yield Origin("Tool result", truncate(tool, MAX_WORDS), reverse("admin:memories_memory_changelist") + query)


@register_origin
def find_import(memory: Memory) -> Iterator[Origin]:
    """Compare the date that a caller gave with the moment in the id."""
    stored_at = get_stored_at(memory)
    if stored_at is not None and stored_at - memory.created_at > MIN_IMPORT_LAG:
        yield Origin("Imported", f"{stored_at:%Y-%m-%d %H:%M} UTC", note="with an earlier date of its own")


def get_stored_at(memory: Memory) -> datetime | None:
    """Return the moment in an id of version 7 (RFC 9562): milliseconds in its first 48 bits."""
    return datetime.fromtimestamp((memory.pk.int >> 80) / 1000, UTC) if memory.pk.version == 7 else None
