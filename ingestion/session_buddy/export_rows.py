"""Conversion of an insight to a row of a Session-Buddy file."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any
from uuid import uuid5

import numpy as np
from pydantic_core import to_json

from ingestion.session_buddy.records import MAX_TAG_LENGTH, MAX_TAGS_PER_ROW, OWN_SYSTEM, SOURCE_SYSTEM
from ingestion.session_buddy.schema import VECTOR_DIMENSIONS
from ingestion.session_buddy.times import format_local_datetime
from memories.insights.models import Insight, InsightType

#: Session-Buddy's category for insights, in the layout with categories (v2).
INSIGHT_CATEGORY = "rules"


def get_candidate_ids(insight: Insight) -> tuple[str, ...]:
    """Return the ids that its row may have, in order of preference.

    They are the id that Session-Buddy gave it, its memory's id, and a derived one in case another row has both.
    """
    pk = insight.memory_id
    own = (str(pk), str(uuid5(pk, bytes(insight.digest).hex())))
    original = get_provenance(insight).get("id")
    return (original, *own) if isinstance(original, str) and original else (own[0], *own)


def get_provenance(insight: Insight) -> dict[str, Any]:
    """Return what the import noted about the source row. API clients may have changed it to anything."""
    provenance = insight.memory.metadata.get(SOURCE_SYSTEM)
    return provenance if isinstance(provenance, dict) else {}


def build_reflection_row(insight: Insight, pk: str, conversations: set[str], zone: tzinfo) -> dict[str, Any]:
    memory, provenance = insight.memory, get_provenance(insight)
    conversation = provenance.get("conversation_id")
    original_type = provenance.get("insight_type") if insight.insight_type == InsightType.GENERAL else None
    return {
        "id": pk,
        # Null for a conversation that is not in the file, which may have a foreign key.
        "conversation_id": conversation if conversation in conversations else None,
        "content": memory.content,
        "tags": build_row_tags(insight),
        "metadata": to_json(build_row_metadata(insight, conversation)).decode(),
        "created_at": format_local_datetime(memory.created_at, zone),
        "timestamp": format_local_datetime(memory.created_at, zone),
        "updated_at": format_local_datetime(memory.updated_at, zone),
        "project": next(iter(insight.projects), None),
        "category": INSIGHT_CATEGORY,
        "insight_type": original_type or insight.insight_type,
        "usage_count": insight.usage_count,
        "last_used_at": format_local_datetime(insight.last_used_at, zone),
        "confidence_score": memory.confidence,
    }


def build_row_tags(insight: Insight) -> list[str]:
    """Return tags and topics, since Session-Buddy searches topics among the tags.

    At most as many as the import accepts; the metadata have all topics.
    """
    tags = dict.fromkeys([*insight.memory.tags, *insight.topics])
    return [tag for tag in tags if len(tag) <= MAX_TAG_LENGTH][:MAX_TAGS_PER_ROW]


def build_row_metadata(insight: Insight, conversation: str | None) -> dict[str, Any]:
    memory = insight.memory
    own = {name: value for name, value in memory.metadata.items() if name != SOURCE_SYSTEM}
    source = {
        "system": OWN_SYSTEM,
        "memory": str(memory.pk),
        "from": memory.source_system,
        "collection": insight.collection,
    }
    fields = {"projects": insight.projects, "topics": insight.topics, "quality_score": insight.quality}
    return own | fields | {"source": source} | ({"source_conversation_id": conversation} if conversation else {})


def truncate_vector(vector: Sequence[float]) -> list[float] | None:
    """Return the model's 384 numbers without the zero padding, normalised again, since float16 has rounded them.

    None for a vector without zero padding, which is of another model.
    """
    own, padding = np.split(np.asarray(vector, np.float64), [VECTOR_DIMENSIONS])
    length = np.linalg.norm(own)
    return (own / length).tolist() if length and not padding.any() else None
