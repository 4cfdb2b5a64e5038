"""An insight of ours as a row of such a file."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid5

import numpy as np
from pydantic_core import to_json

from ingestion.session_buddy.records import LONGEST_TAG, OURS, SOURCE, TAGS
from ingestion.session_buddy.schema import WIDTH
from memories.insights.models import Insight, InsightType

#: What Session-Buddy calls what was learned, in the layout that sorts everything.
CATEGORY = "rules"


def ids_of(insight: Insight) -> tuple[str, ...]:
    """Ids its row may have, the best first: the one Session-Buddy gave it, its memory's, and one for the case that both
    are another's by now."""
    pk = insight.memory_id
    mine = (str(pk), str(uuid5(pk, bytes(insight.digest).hex())))
    original = marks(insight).get("id")
    return (original, *mine) if isinstance(original, str) and original else (mine[0], *mine)


def marks(insight: Insight) -> dict[str, Any]:
    """What the import noted of where it came from; callers may have written anything there."""
    told = insight.memory.metadata.get(SOURCE)
    return told if isinstance(told, dict) else {}


def row_of(insight: Insight, pk: str, conversations: set[str]) -> dict[str, Any]:
    memory, told = insight.memory, marks(insight)
    conversation = told.get("conversation_id")
    own_type = told.get("insight_type") if insight.insight_type == InsightType.GENERAL else None
    return {
        "id": pk,
        # Not where the file may know no such conversation: it may insist on knowing it.
        "conversation_id": conversation if conversation in conversations else None,
        "content": memory.content,
        "tags": tags_of(insight),
        "metadata": to_json(metadata_of(insight, conversation)).decode(),
        "created_at": plain(memory.created_at),
        "timestamp": plain(memory.created_at),
        "updated_at": plain(memory.updated_at),
        "project": next(iter(insight.projects), None),
        "category": CATEGORY,
        "insight_type": own_type or insight.insight_type,
        "usage_count": insight.usage_count,
        "last_used_at": plain(insight.last_used_at),
        "confidence_score": memory.confidence,
    }


def tags_of(insight: Insight) -> list[str]:
    """Session-Buddy looks for topics among the tags. No more than the import takes; its metadata have all topics."""
    tags = dict.fromkeys([*insight.memory.tags, *insight.topics])
    return [tag for tag in tags if len(tag) <= LONGEST_TAG][:TAGS]


def metadata_of(insight: Insight, conversation: str | None) -> dict[str, Any]:
    memory = insight.memory
    own = {name: value for name, value in memory.metadata.items() if name != SOURCE}
    source = {"system": OURS, "memory": str(memory.pk), "from": memory.source_system, "collection": insight.collection}
    told = {"projects": insight.projects, "topics": insight.topics, "quality_score": insight.quality, "source": source}
    return own | told | ({"source_conversation_id": conversation} if conversation else {})


def plain(when: datetime | None) -> str | None:
    """As UTC without saying so."""
    return when and when.astimezone(UTC).replace(tzinfo=None).isoformat()


def narrow(vector: Sequence[float]) -> list[float] | None:
    """The model's own numbers, without the zeros behind them, at unit length again: sixteen bits have rounded them.
    None where there are no zeros behind, so that it is something else."""
    own, rest = np.split(np.asarray(vector, np.float64), [WIDTH])
    length = np.linalg.norm(own)
    return (own / length).tolist() if length and not rest.any() else None
