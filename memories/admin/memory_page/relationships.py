"""The relationships of a memory: a picture, a list, and a picker for the other end of a new one."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Q
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.safestring import SafeString

from memories.admin.relationships import build_relationships_context
from memories.admin.search import parse_uuid_or_none, search_with_notes
from memories.console_urls import get_memory_url
from memories.graph.models import Relationship, RelationshipType
from memories.graph.neighbourhood import Neighbour, draw_neighbourhood
from memories.graph.relationships import upsert_to_memory
from memories.models import Memory
from memories.search.filters import Filters
from memory_site.core.admin.formatting import truncate

MAX_CANDIDATES, MAX_SEARCHED = 8, 40
MAX_NAME_LENGTH = 110
NOT_RELATED = "These two cannot be related: both must be there, of one user, and not the same memory."
NO_CANDIDATE = "No other memory of this user matches."


def build_relationships_tab(request: HttpRequest, memory: Memory) -> dict[str, Any]:
    shown = build_relationships_context(memory)
    text = request.GET.get("find", "").strip()
    return {
        **shown,
        "picture": draw_picture(memory, shown["relationships"][: shown["max_shown"]]),
        "types": [(kind.value, kind.value.replace("_", " ")) for kind in RelationshipType],
        "find": text,
        "candidates": find_candidates(request, memory, text) if text else [],
        "no_candidate": NO_CANDIDATE,
    }


def draw_picture(memory: Memory, described: list[dict[str, Any]]) -> SafeString | None:
    """Draw the relationships of the list, as `describe_from_end` returns them."""
    if not described:
        return None
    incoming = [make_neighbour(each) for each in described if not each["is_outgoing"]]
    outgoing = [make_neighbour(each) for each in described if each["is_outgoing"]]
    return draw_neighbourhood(get_words(memory.content), get_memory_url(memory), incoming, outgoing)


def make_neighbour(described: dict[str, Any]) -> Neighbour:
    link = described["link"]
    url = get_memory_url(Memory(pk=described["other_id"]))
    return Neighbour(url, get_words(described["other_beginning"]), link.type, link.strength)


def get_words(text: str) -> str:
    return truncate(text, MAX_NAME_LENGTH)


def find_candidates(request: HttpRequest, memory: Memory, text: str) -> list[Memory]:
    """Return other memories of the same user, by id or by a search, best first, each with its `words`."""
    mine = Memory.objects.in_namespace(memory.namespace_id).filter(owner=memory.owner).exclude(pk=memory.pk)
    ids = [pk] if (pk := parse_uuid_or_none(text)) else search_ids(request, memory, text)
    rows = mine.filter(pk__in=ids).annotate(words=Left("content", MAX_NAME_LENGTH)).only("memory_type")
    return sorted(rows, key=lambda each: ids.index(each.pk))[:MAX_CANDIDATES]


def search_ids(request: HttpRequest, memory: Memory, text: str) -> list[UUID]:
    filters = Filters(user_id=memory.user_id) if memory.user_id else None
    outcome = search_with_notes(text, memory.namespace_id, filters, MAX_SEARCHED)
    for note in outcome.notes:
        messages.warning(request, note)
    return [hit["memory"]["id"] for hit in outcome.hits]


def add_relationship(request: HttpRequest, memory: Memory) -> str | None:
    """Relate the memory to `other` by `type`, or the other way round. Return words for the log, or None."""
    other, kind = parse_uuid_or_none(request.POST.get("other", "")), request.POST.get("type", "")
    if other is None or kind not in RelationshipType.values:
        messages.error(request, NOT_RELATED)
        return None
    start, finish = (other, memory.pk) if request.POST.get("direction") == "from" else (memory.pk, other)
    columns = {"type": kind, "strength": None, "metadata": None}
    if upsert_to_memory(memory.namespace_id, start, finish, columns) is None:
        messages.error(request, NOT_RELATED)
        return None
    messages.success(request, "The relationship is stored.")
    return f"Related by {kind} to {other}"


def remove_relationship(request: HttpRequest, memory: Memory) -> str | None:
    """Delete one relationship of this memory. Return words for the log, or None."""
    pk = parse_uuid_or_none(request.POST.get("relationship", ""))
    ends = Q(from_memory=memory.pk) | Q(to_memory=memory.pk)
    mine = Relationship.objects.filter(ends, namespace=memory.namespace_id, pk=pk)
    if not mine.delete()[0]:
        messages.error(request, "This relationship is not there any more.")
        return None
    messages.success(request, "The relationship is removed; both memories stay.")
    return f"Removed relationship {pk}"
