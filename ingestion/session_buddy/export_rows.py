"""An insight of ours as a row of such a file."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid5

import numpy as np
from pydantic_core import to_json

from ingestion.session_buddy.records import MAX_TAG_LENGTH, MAX_TAGS_PER_ROW, OWN_SYSTEM, SOURCE_SYSTEM
from ingestion.session_buddy.schema import VECTOR_DIMENSIONS
from memories.insights.models import Insight, InsightType

#: What Session-Buddy calls what was learned, in the layout that sorts everything.
INSIGHT_CATEGORY = "rules"


def get_candidate_ids(insight: Insight) -> tuple[str, ...]:
    """Ids its row may have, the best first: the one Session-Buddy gave it, its memory's, and one for the case that both
    are another's by now."""
    pk = insight.memory_id
    mine = (str(pk), str(uuid5(pk, bytes(insight.digest).hex())))
    original = get_provenance(insight).get("id")
    return (original, *mine) if isinstance(original, str) and original else (mine[0], *mine)


def get_provenance(insight: Insight) -> dict[str, Any]:
    """What the import noted of where it came from; callers may have written anything there."""
    told = insight.memory.metadata.get(SOURCE_SYSTEM)
    return told if isinstance(told, dict) else {}


def build_reflection_row(insight: Insight, pk: str, conversations: set[str]) -> dict[str, Any]:
    memory, told = insight.memory, get_provenance(insight)
    conversation = told.get("conversation_id")
    own_type = told.get("insight_type") if insight.insight_type == InsightType.GENERAL else None
    return {
        "id": pk,
        # Not where the file may know no such conversation: it may insist on knowing it.
        "conversation_id": conversation if conversation in conversations else None,
        "content": memory.content,
        "tags": build_row_tags(insight),
        "metadata": to_json(build_row_metadata(insight, conversation)).decode(),
        "created_at": format_naive_utc(memory.created_at),
        "timestamp": format_naive_utc(memory.created_at),
        "updated_at": format_naive_utc(memory.updated_at),
        "project": next(iter(insight.projects), None),
        "category": INSIGHT_CATEGORY,
        "insight_type": own_type or insight.insight_type,
        "usage_count": insight.usage_count,
        "last_used_at": format_naive_utc(insight.last_used_at),
        "confidence_score": memory.confidence,
    }


def build_row_tags(insight: Insight) -> list[str]:
    """Session-Buddy looks for topics among the tags. No more than the import takes; its metadata have all topics."""
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
    told = {"projects": insight.projects, "topics": insight.topics, "quality_score": insight.quality, "source": source}
    return own | told | ({"source_conversation_id": conversation} if conversation else {})


def format_naive_utc(when: datetime | None) -> str | None:
    """As UTC without saying so."""
    return when and when.astimezone(UTC).replace(tzinfo=None).isoformat()


def truncate_vector(vector: Sequence[float]) -> list[float] | None:
    """The model's own numbers, without the zeros behind them, at unit length again: sixteen bits have rounded them.
    None where there are no zeros behind, so that it is something else."""
    own, rest = np.split(np.asarray(vector, np.float64), [VECTOR_DIMENSIONS])
    length = np.linalg.norm(own)
    return (own / length).tolist() if length and not rest.any() else None
