"""Validation of a Session-Buddy file's rows, and their conversion to memories and insights."""

from collections.abc import Mapping
from datetime import UTC
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo

from ingestion.session_buddy.schema import CONVERSATIONS, Table
from ingestion.session_buddy.times import clip_to_now, parse_local_datetime
from memories.insights.models import InsightCollection, InsightType
from memories.insights.redaction import redact_project_name
from memories.insights.storage import MAX_PROJECTS_PER_INSIGHT, InsightDraft
from memories.memory_types import MemoryType
from memories.schemas import MemoryIn, UniqueTags
from memory_site.core.http.fields import Content, JsonObject, Label, PastTimestamp, Tag, UnitInterval, check_json_object
from memory_site.core.http.parsing import read_json
from sessions_app.commands import format_validation_error

SOURCE_SYSTEM, OWN_SYSTEM = "session_buddy", "memory-site"
#: A reflection is technical knowledge, whose relevance does not decay with time.
REFLECTION_TYPE, CONVERSATION_TYPE = MemoryType.TECHNICAL_KNOWLEDGE, MemoryType.CONVERSATION
PROJECT_KEYS = ("project", "projects", "source_project", "source_projects")
MAX_USAGE_COUNT = 2**31 - 1
#: The limits of a memory's tags.
MAX_TAGS_PER_ROW, MAX_TAG_LENGTH = 64, 128


def parse_past_datetime(text: Any, info: ValidationInfo) -> Any:
    """Parse a time of the file; the context of the validation has its time zone as `timezone`."""
    return clip_to_now(parse_local_datetime(text, (info.context or {}).get("timezone", UTC)))


def parse_json_object(text: Any) -> Any:
    """Parse a JSON object, also one inside a JSON string. Wrap anything else as {"value": …}."""
    try:
        for _ in range(2):
            text = read_json(text) if isinstance(text, str) else text
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError:
        pass
    return text if isinstance(text, dict) else {} if text is None else {"value": text}


def drop_blank_tags(tags: Any) -> list[str]:
    return [tag for tag in tags or () if tag and tag.strip()]


PastDatetime = Annotated[PastTimestamp, BeforeValidator(parse_past_datetime)]


class SourceRow(BaseModel):
    """A row of either layout. Validation raises ValidationError; its context has the file's time zone as `timezone`."""

    model_config = ConfigDict(allow_inf_nan=False)

    id: Label
    content: Content
    conversation_id: Label | None
    tags: Annotated[UniqueTags, BeforeValidator(drop_blank_tags)]
    metadata: Annotated[JsonObject, BeforeValidator(parse_json_object)]
    created_at: PastDatetime | None
    timestamp: PastDatetime | None
    project: Label | None
    insight_type: Tag | None
    usage_count: Annotated[int, Field(ge=0, le=MAX_USAGE_COUNT)] | None
    last_used_at: PastDatetime | None
    confidence_score: UnitInterval | None


class InsightMetadata(BaseModel):
    """The parts of an insight's metadata that become fields of the insight."""

    model_config = ConfigDict(allow_inf_nan=False)

    projects: Annotated[list[Label], Field(max_length=MAX_PROJECTS_PER_INSIGHT)]
    topics: Annotated[list[Label], Field(max_length=MAX_TAGS_PER_ROW)] | None = None
    quality_score: UnitInterval | None = None
    source_conversation_id: Label | None = None
    collection: InsightCollection


def memory_from_row(table: Table, row: SourceRow) -> MemoryIn:
    """Convert a reflection or a conversation to a memory. Raises ValueError."""
    own, projects = split_off_projects(row)
    redacted = [redact_project_name(each) for each in projects]
    return MemoryIn(
        content=row.content,
        memory_type=CONVERSATION_TYPE if table.kind == CONVERSATIONS else REFLECTION_TYPE,
        source_system=SOURCE_SYSTEM,
        repo_id=redacted[0] if len(redacted) == 1 else None,
        tags=row.tags,
        metadata=add_provenance(own, table, id=row.id, conversation_id=row.conversation_id, projects=redacted),
        created_at=row.created_at or row.timestamp,
    )


def draft_from_row(table: Table, row: SourceRow, memories: Mapping[str, UUID]) -> InsightDraft:
    """Convert a reflection to an insight. `memories` maps conversation ids to memories. Raises ValueError."""
    own, projects = split_off_projects(row)
    source = own.pop("source") if is_own_source(own.get("source")) else {}
    fields = {name: own.pop(name) for name in ("topics", "quality_score", "source_conversation_id") if name in own}
    collection = table.reach if table.collection else source.get("collection", table.reach)
    parsed = InsightMetadata(projects=projects, collection=collection, **fields)
    conversation = row.conversation_id or parsed.source_conversation_id
    is_known_type = row.insight_type in InsightType.values
    unknown_type = None if is_known_type else row.insight_type
    return InsightDraft(
        content=row.content,
        collection=parsed.collection,
        insight_type=row.insight_type if is_known_type else InsightType.GENERAL,
        topics=row.tags or None if parsed.topics is None else parsed.topics,
        projects=parsed.projects,
        confidence=row.confidence_score,
        quality=parsed.quality_score,
        tags=row.tags,
        metadata=add_provenance(own, table, id=row.id, conversation_id=conversation, insight_type=unknown_type),
        source_memory_id=memories.get(conversation) if conversation else None,
        created_at=row.created_at or row.timestamp,
        usage_count=row.usage_count or 0,
        last_used_at=row.last_used_at,
        source_system=SOURCE_SYSTEM,
    )


def split_off_projects(row: SourceRow) -> tuple[dict[str, Any], list[str]]:
    """Return the metadata without project names, which may need redaction, and the names."""
    own = dict(row.metadata)
    values = [row.project, *(own.pop(name, None) for name in PROJECT_KEYS)]
    return own, list(dict.fromkeys(each for value in values for each in extract_names(value)))


def extract_names(value: Any) -> list[str]:
    """Return the names in a text or a list of texts; other values are ignored."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str) and each.strip()]


def is_own_source(source: Any) -> bool:
    return isinstance(source, dict) and source.get("system") == OWN_SYSTEM


def add_provenance(own: dict[str, Any], table: Table, **fields: Any) -> dict[str, Any]:
    """Add what identifies the source row to its metadata. Raises ValueError."""
    provenance = {name: value for name, value in (fields | {"collection": table.collection}).items() if value}
    return check_json_object(own | {SOURCE_SYSTEM: provenance})


def format_error(error: ValueError) -> str:
    return format_validation_error(error) if isinstance(error, ValidationError) else str(error)
