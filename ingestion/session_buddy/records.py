"""What a row of such a file says, checked: a row that could not be kept here is told apart from all others."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ingestion.session_buddy.schema import CONVERSATIONS, Table
from memories.insights.models import Collection, InsightType
from memories.insights.redaction import masked
from memories.insights.storage import PROJECTS_AT_MOST, InsightDraft
from memories.schemas import MemoryIn, UniqueTags
from memories.types import MemoryType
from memory_site.core.http.fields import Content, JsonObject, Label, PastMoment, Share, Tag, bounded_object
from memory_site.core.http.parsing import read_json
from sessions_app.commands import sentences

SOURCE, OURS = "session_buddy", "memory-site"
#: A reflection was written down to be known later, so time takes nothing from it.
REFLECTION, CONVERSATION = MemoryType.TECHNICAL_KNOWLEDGE, MemoryType.CONVERSATION
PROJECTS = ("project", "projects", "source_project", "source_projects")
LARGEST_COUNT = 2**31 - 1
#: What a memory may be told at once.
TAGS, LONGEST_TAG = 64, 128


def moment(text: Any) -> Any:
    """Without a zone it is UTC."""
    if not isinstance(text, str):
        return text
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a time we can keep") from None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def object_in(text: Any) -> Any:
    """The object in a JSON text, or in a JSON string inside one. Anything else, JSON or not, is the `value` of one."""
    try:
        for _ in range(2):
            text = read_json(text) if isinstance(text, str) else text
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError:
        pass
    return text if isinstance(text, dict) else {} if text is None else {"value": text}


def some(tags: Any) -> list[str]:
    return [tag for tag in tags or () if tag and tag.strip()]


Past = Annotated[PastMoment, BeforeValidator(moment)]


class Row(BaseModel):
    """A row as it comes, whatever the layout. Validating raises ValidationError."""

    model_config = ConfigDict(allow_inf_nan=False)

    id: Label
    content: Content
    conversation_id: Label | None
    tags: Annotated[UniqueTags, BeforeValidator(some)]
    metadata: Annotated[JsonObject, BeforeValidator(object_in)]
    created_at: Past | None
    timestamp: Past | None
    project: Label | None
    insight_type: Tag | None
    usage_count: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] | None
    last_used_at: Past | None
    confidence_score: Share | None


class Learned(BaseModel):
    """What the metadata of an insight say that has a place of its own here."""

    model_config = ConfigDict(allow_inf_nan=False)

    projects: Annotated[list[Label], Field(max_length=PROJECTS_AT_MOST)]
    topics: Annotated[list[Label], Field(max_length=TAGS)] | None = None
    quality_score: Share | None = None
    source_conversation_id: Label | None = None
    collection: Collection


def memory_of(table: Table, row: Row) -> MemoryIn:
    """A reflection or a conversation, of its project where it has one. Raises ValueError."""
    own, projects = taken_out(row)
    hidden = [masked(each) for each in projects]
    return MemoryIn(
        content=row.content,
        memory_type=CONVERSATION if table.kind == CONVERSATIONS else REFLECTION,
        source_system=SOURCE,
        repo_id=hidden[0] if len(hidden) == 1 else None,
        tags=row.tags,
        metadata=marked(own, table, id=row.id, conversation_id=row.conversation_id, projects=hidden),
        created_at=row.created_at or row.timestamp,
    )


def insight_of(table: Table, row: Row, memories: Mapping[str, UUID]) -> InsightDraft:
    """`memories` are those of conversations, by the ids these have in the file. Raises ValueError."""
    own, projects = taken_out(row)
    source = own.pop("source") if is_ours(own.get("source")) else {}
    said = {name: own.pop(name) for name in ("topics", "quality_score", "source_conversation_id") if name in own}
    reach = table.reach if table.collection else source.get("collection", table.reach)
    learned = Learned(projects=projects, collection=reach, **said)
    conversation = row.conversation_id or learned.source_conversation_id
    known = row.insight_type in InsightType.values
    other = None if known else row.insight_type
    return InsightDraft(
        content=row.content,
        collection=learned.collection,
        insight_type=row.insight_type if known else InsightType.GENERAL,
        topics=row.tags or None if learned.topics is None else learned.topics,
        projects=learned.projects,
        confidence=row.confidence_score,
        quality=learned.quality_score,
        tags=row.tags,
        metadata=marked(own, table, id=row.id, conversation_id=conversation, insight_type=other),
        source_memory_id=memories.get(conversation),
        created_at=row.created_at or row.timestamp,
        usage_count=row.usage_count or 0,
        last_used_at=row.last_used_at,
        source_system=SOURCE,
    )


def taken_out(row: Row) -> tuple[dict[str, Any], list[str]]:
    """The metadata without the projects, whose names may have to stay hidden, and these."""
    own = dict(row.metadata)
    named = [row.project, *(own.pop(name, None) for name in PROJECTS)]
    return own, list(dict.fromkeys(each for value in named for each in names_in(value)))


def names_in(value: Any) -> list[str]:
    """One name or a list of them; whatever else stands there names nothing."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str) and each.strip()]


def is_ours(source: Any) -> bool:
    return isinstance(source, dict) and source.get("system") == OURS


def marked(own: dict[str, Any], table: Table, **told: Any) -> dict[str, Any]:
    """The file's own metadata, and what is needed to find the row again. Raises ValueError."""
    told = {name: value for name, value in (told | {"collection": table.collection}).items() if value}
    return bounded_object(own | {SOURCE: told})


def reason(error: ValueError) -> str:
    return sentences(error) if isinstance(error, ValidationError) else str(error)
