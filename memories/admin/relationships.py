"""The relationships on the page of a memory."""

from typing import Any
from uuid import UUID

from django.db.models.functions import Left
from django.utils.html import format_html
from django.utils.safestring import SafeString

from memories.console_urls import get_memory_url
from memories.graph.models import (
    END_FIELDS,
    PendingRelationship,
    Relationship,
    RelationshipQuerySet,
    RelationshipType,
)
from memories.models import Memory
from memories.states import is_alive
from memory_site.core.admin.formatting import truncate

RELATIONSHIP_EXCERPT_LENGTH = 120
#: On the page of a memory: resolved and pending ones each.
MAX_SHOWN_RELATIONSHIPS = 50
SPECIAL_COLOURS = {
    RelationshipType.LED_TO: "success",
    RelationshipType.PRODUCES: "success",
    RelationshipType.CONTRADICTS: "danger",
    RelationshipType.DEPENDS_ON: "warning",
    RelationshipType.REFINES: "info",
    RelationshipType.ANSWERS: "info",
}
RELATIONSHIP_TYPE_COLOURS = {kind: SPECIAL_COLOURS.get(kind, "primary") for kind in RelationshipType}


def annotate_excerpts(links: RelationshipQuerySet) -> RelationshipQuerySet:
    """Annotate the beginnings of the contents of both ends; the rows of memories are wide."""
    beginnings = {f"{end}_beginning": Left(f"{end}__content", RELATIONSHIP_EXCERPT_LENGTH) for end in END_FIELDS}
    return links.filter(is_alive("from_memory__"), is_alive("to_memory__")).annotate(**beginnings)


def format_memory_link(pk: UUID, beginning: str) -> SafeString:
    return format_html('<a href="{}" class="underline">{}</a>', get_memory_url(Memory(pk=pk)), truncate(beginning, 100))


def is_related(memory: Memory) -> bool:
    pending = PendingRelationship.objects.filter(from_memory=memory)
    return Relationship.objects.of_memory(memory.pk).exists() or pending.exists()


def build_relationships_context(memory: Memory, limit: int = MAX_SHOWN_RELATIONSHIPS) -> dict[str, Any]:
    """Return the newest relationships in both directions, one more than the limit if there are more, and the newest
    pending ones."""
    links = annotate_excerpts(Relationship.objects.filter(namespace=memory.namespace_id).of_memory(memory.pk))
    pending = PendingRelationship.objects.filter(from_memory=memory).order_by("-id")
    return {
        "relationships": [describe_from_end(memory, link) for link in links.order_by("-id")[: limit + 1]],
        "pending": [
            {"arrow": "←" if each.reverse else "→", "colour": RELATIONSHIP_TYPE_COLOURS[each.type], "link": each}
            for each in pending[:limit]
        ],
        "max_shown": limit,
    }


def describe_from_end(memory: Memory, link: Relationship) -> dict[str, Any]:
    """Describe a relationship as seen from one of its ends."""
    is_outgoing = link.from_memory_id == memory.pk
    other = "to_memory" if is_outgoing else "from_memory"
    return {
        "is_outgoing": is_outgoing,
        "arrow": "→" if is_outgoing else "←",
        "colour": RELATIONSHIP_TYPE_COLOURS[link.type],
        "link": link,
        "other_id": getattr(link, f"{other}_id"),
        "other_beginning": getattr(link, f"{other}_beginning"),
        "other": format_memory_link(getattr(link, f"{other}_id"), getattr(link, f"{other}_beginning")),
    }
