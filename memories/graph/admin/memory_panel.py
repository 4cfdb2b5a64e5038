"""What a memory's page shows of its relationships."""

from typing import Any
from uuid import UUID

from django.db.models.functions import Left
from django.utils.html import format_html
from django.utils.safestring import SafeString

from memories.admin.addresses import page_of
from memories.graph.models import PendingRelationship, Relationship, RelationshipQuerySet, RelationshipType, living
from memories.models import Memory
from memory_site.core.admin.formatting import shortened

ENDS = ("from_memory", "to_memory")
BEGINNING = 120
#: On a memory's page, of each kind.
SHOWN_AT_MOST = 50
RELATIONSHIP_TYPES = {
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
    return RELATIONSHIP_TYPES.get(relationship_type, "primary")


def with_beginnings(links: RelationshipQuerySet) -> RelationshipQuerySet:
    """How the contents of both ends begin, and nothing else of these wide rows."""
    beginnings = {f"{end}_beginning": Left(f"{end}__content", BEGINNING) for end in ENDS}
    return links.filter(living("from_memory"), living("to_memory")).annotate(**beginnings)


def way(pk: UUID, beginning: str) -> SafeString:
    return format_html('<a href="{}" class="underline">{}</a>', page_of(Memory(pk=pk)), shortened(beginning, 100))


def is_related(memory: Memory) -> bool:
    waiting = PendingRelationship.objects.filter(from_memory=memory)
    return Relationship.objects.of_memory(memory.pk).exists() or waiting.exists()


def relationships_of(memory: Memory) -> dict[str, Any]:
    """The newest in both directions, and the newest that wait."""
    links = with_beginnings(Relationship.objects.of_memory(memory.pk)).order_by("-id")
    waiting = PendingRelationship.objects.filter(from_memory=memory).order_by("-id")
    return {
        "relationships": [side(memory, link) for link in links[: SHOWN_AT_MOST + 1]],
        "waiting": [
            {"arrow": "←" if each.reverse else "→", "colour": colour_of(each.type), "link": each}
            for each in waiting[:SHOWN_AT_MOST]
        ],
        "shown_at_most": SHOWN_AT_MOST,
    }


def side(memory: Memory, link: Relationship) -> dict[str, Any]:
    """A relationship as it looks from one of its ends."""
    away = link.from_memory_id == memory.pk
    other = "to_memory" if away else "from_memory"
    return {
        "arrow": "→" if away else "←",
        "colour": colour_of(link.type),
        "link": link,
        "other": way(getattr(link, f"{other}_id"), getattr(link, f"{other}_beginning")),
    }
