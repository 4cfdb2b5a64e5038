"""What a memory's page shows of its relationships."""

from typing import Any
from uuid import UUID

from django.db.models.functions import Left
from django.utils.html import format_html
from django.utils.safestring import SafeString

from memories.admin.addresses import get_memory_url
from memories.graph.models import PendingRelationship, Relationship, RelationshipQuerySet, RelationshipType, not_expired
from memories.models import Memory
from memory_site.core.admin.formatting import truncate

END_FIELDS = ("from_memory", "to_memory")
RELATIONSHIP_EXCERPT_LENGTH = 120
#: On a memory's page, of each kind.
MAX_SHOWN_RELATIONSHIPS = 50
RELATIONSHIP_TYPE_COLOURS = {
    RelationshipType.LED_TO: "success",
    RelationshipType.PRODUCES: "success",
    RelationshipType.CONTRADICTS: "danger",
    RelationshipType.DEPENDS_ON: "warning",
    RelationshipType.REFINES: "info",
    RelationshipType.ANSWERS: "info",
    RelationshipType.RELATES_TO: "primary",
    RelationshipType.BELONGS_TO: "primary",
}


def colour_of(relationship_type: str) -> str:
    return RELATIONSHIP_TYPE_COLOURS.get(relationship_type, "primary")


def annotate_excerpts(links: RelationshipQuerySet) -> RelationshipQuerySet:
    """How the contents of both ends begin, and nothing else of these wide rows."""
    beginnings = {f"{end}_beginning": Left(f"{end}__content", RELATIONSHIP_EXCERPT_LENGTH) for end in END_FIELDS}
    return links.filter(not_expired("from_memory"), not_expired("to_memory")).annotate(**beginnings)


def format_memory_link(pk: UUID, beginning: str) -> SafeString:
    return format_html('<a href="{}" class="underline">{}</a>', get_memory_url(Memory(pk=pk)), truncate(beginning, 100))


def is_related(memory: Memory) -> bool:
    waiting = PendingRelationship.objects.filter(from_memory=memory)
    return Relationship.objects.of_memory(memory.pk).exists() or waiting.exists()


def build_relationships_context(memory: Memory) -> dict[str, Any]:
    """The newest in both directions, and the newest that wait."""
    links = annotate_excerpts(Relationship.objects.of_memory(memory.pk)).order_by("-id")
    waiting = PendingRelationship.objects.filter(from_memory=memory).order_by("-id")
    return {
        "relationships": [describe_from_end(memory, link) for link in links[: MAX_SHOWN_RELATIONSHIPS + 1]],
        "waiting": [
            {"arrow": "←" if each.reverse else "→", "colour": colour_of(each.type), "link": each}
            for each in waiting[:MAX_SHOWN_RELATIONSHIPS]
        ],
        "shown_at_most": MAX_SHOWN_RELATIONSHIPS,
    }


def describe_from_end(memory: Memory, link: Relationship) -> dict[str, Any]:
    """A relationship as it looks from one of its ends."""
    away = link.from_memory_id == memory.pk
    other = "to_memory" if away else "from_memory"
    return {
        "arrow": "→" if away else "←",
        "colour": colour_of(link.type),
        "link": link,
        "other": format_memory_link(getattr(link, f"{other}_id"), getattr(link, f"{other}_beginning")),
    }
