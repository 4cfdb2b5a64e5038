"""What a row of such a file says, checked: a row that could not be kept here is told apart from all others."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ingestion.session_buddy.schema import CONVERSATIONS, Table
from memories.insights.models import InsightCollection, InsightType
from memories.insights.redaction import redact_project_name
from memories.insights.storage import MAX_PROJECTS_PER_INSIGHT, InsightDraft
from memories.schemas import MemoryIn, UniqueTags
from memories.types import MemoryType
from memory_site.core.http.fields import Content, JsonObject, Label, PastTimestamp, Tag, UnitInterval, check_json_object
from memory_site.core.http.parsing import read_json
from sessions_app.commands import format_validation_error

SOURCE_SYSTEM, OWN_SYSTEM = "session_buddy", "memory-site"
#: A reflection was written down to be known later, so time takes nothing from it.
REFLECTION_TYPE, CONVERSATION_TYPE = MemoryType.TECHNICAL_KNOWLEDGE, MemoryType.CONVERSATION
PROJECT_KEYS = ("project", "projects", "source_project", "source_projects")
MAX_USAGE_COUNT = 2**31 - 1
#: What a memory may be told at once.
MAX_TAGS_PER_ROW, MAX_TAG_LENGTH = 64, 128


def parse_utc_datetime(text: Any) -> Any:
    """Without a zone it is UTC."""
    if not isinstance(text, str):
        return text
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a time we can keep") from None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def parse_json_object(text: Any) -> Any:
    """The object in a JSON text, or in a JSON string inside one. Anything else, JSON or not, is the `value` of one."""
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


PastDatetime = Annotated[PastTimestamp, BeforeValidator(parse_utc_datetime)]


class SourceRow(BaseModel):
    """A row as it comes, whatever the layout. Validating raises ValidationError."""

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
    """What the metadata of an insight say that has a place of its own here."""

    model_config = ConfigDict(allow_inf_nan=False)

    projects: Annotated[list[Label], Field(max_length=MAX_PROJECTS_PER_INSIGHT)]
    topics: Annotated[list[Label], Field(max_length=MAX_TAGS_PER_ROW)] | None = None
    quality_score: UnitInterval | None = None
    source_conversation_id: Label | None = None
    collection: InsightCollection


def memory_from_row(table: Table, row: SourceRow) -> MemoryIn:
    """A reflection or a conversation, of its project where it has one. Raises ValueError."""
    own, projects = split_off_projects(row)
    hidden = [redact_project_name(each) for each in projects]
    return MemoryIn(
        content=row.content,
        memory_type=CONVERSATION_TYPE if table.kind == CONVERSATIONS else REFLECTION_TYPE,
        source_system=SOURCE_SYSTEM,
        repo_id=hidden[0] if len(hidden) == 1 else None,
        tags=row.tags,
        metadata=add_provenance(own, table, id=row.id, conversation_id=row.conversation_id, projects=hidden),
        created_at=row.created_at or row.timestamp,
    )


def draft_from_row(table: Table, row: SourceRow, memories: Mapping[str, UUID]) -> InsightDraft:
    """`memories` are those of conversations, by the ids these have in the file. Raises ValueError."""
    own, projects = split_off_projects(row)
    source = own.pop("source") if is_own_source(own.get("source")) else {}
    said = {name: own.pop(name) for name in ("topics", "quality_score", "source_conversation_id") if name in own}
    reach = table.reach if table.collection else source.get("collection", table.reach)
    learned = InsightMetadata(projects=projects, collection=reach, **said)
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
        metadata=add_provenance(own, table, id=row.id, conversation_id=conversation, insight_type=other),
        source_memory_id=memories.get(conversation),
        created_at=row.created_at or row.timestamp,
        usage_count=row.usage_count or 0,
        last_used_at=row.last_used_at,
        source_system=SOURCE_SYSTEM,
    )


def split_off_projects(row: SourceRow) -> tuple[dict[str, Any], list[str]]:
    """The metadata without the projects, whose names may have to stay hidden, and these."""
    own = dict(row.metadata)
    named = [row.project, *(own.pop(name, None) for name in PROJECT_KEYS)]
    return own, list(dict.fromkeys(each for value in named for each in extract_names(value)))


def extract_names(value: Any) -> list[str]:
    """One name or a list of them; whatever else stands there names nothing."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str) and each.strip()]


def is_own_source(source: Any) -> bool:
    return isinstance(source, dict) and source.get("system") == OWN_SYSTEM


def add_provenance(own: dict[str, Any], table: Table, **told: Any) -> dict[str, Any]:
    """The file's own metadata, and what is needed to find the row again. Raises ValueError."""
    told = {name: value for name, value in (told | {"collection": table.collection}).items() if value}
    return check_json_object(own | {SOURCE_SYSTEM: told})


def format_error(error: ValueError) -> str:
    return format_validation_error(error) if isinstance(error, ValidationError) else str(error)
