"""What a line may hold: what PostgreSQL would take, but nobody could read afterwards, is refused."""

import base64
import json
import math
import struct
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

import numpy as np
from django.db import models
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    create_model,
    field_validator,
)

from ingestion.transfer.record_types import EXPORT_VERSION, HEADER_KIND, RECORD_TYPES
from memories.embeddings.base import DIMENSIONS
from memories.insights.storage import MAX_PROJECTS_PER_INSIGHT
from memories.knowledge.models import MAX_PATTERN_EXAMPLES
from memory_site.core.http.fields import (
    Content,
    Label,
    Tag,
    Text,
    Timestamp,
    UnitInterval,
    check_storable,
    iterate_json,
)
from sessions_app.schemas.sessions import SessionId, TimeToLive, check_clock_skew

#: Sixteen bits round a vector's length so far from one.
NORM_TOLERANCE = 0.01
#: What the API takes grows a little here: places are added to a chunk's metadata, a title to a tool's result.
MAX_EXPORT_JSON_LEVELS, MAX_EXPORT_JSON_CHARACTERS, MAX_EXPORT_CONTENT_LENGTH, MAX_EXPORT_TEXT_LENGTH = (
    32,
    256 * 1024,
    200_000,
    10_000,
)
MAX_EXPORT_TAGS, MAX_EXPORT_PROJECTS, MAX_VECTORS_PER_MEMORY, MAX_EXPORT_COUNT = 256, 1_000, 16, 2**31 - 1


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class ExportHeader(StrictModel):
    """The first line. `counts` are the lines of each kind that follow, so that a file cut short is noticed."""

    kind: Literal[HEADER_KIND]
    version: Literal[EXPORT_VERSION]
    namespace: str
    user: str | None
    embedding_model: Label | None
    created_at: Timestamp
    counts: dict[Literal[*RECORD_TYPES], Annotated[int, Field(ge=0)]]


PastMoment = Annotated[Timestamp, AfterValidator(check_clock_skew)]
PAST_MOMENT_ADAPTER = TypeAdapter(PastMoment)


def normalize_timestamp(text: str) -> str:
    """In the one form whose order is the order of time. Raises ValueError."""
    return PAST_MOMENT_ADAPTER.validate_python(text).isoformat(timespec="microseconds")


class ExportedInteraction(StrictModel):
    query: Content
    answer: Content
    timestamp: Annotated[str, AfterValidator(normalize_timestamp)]


class ExportedVector(StrictModel):
    model: Label
    vector: Annotated[str, StringConstraints(max_length=4 * DIMENSIONS)]

    @field_validator("vector")
    @classmethod
    def decode_vector(cls, given: str) -> bytes:
        """As PostgreSQL receives a halfvec: how many numbers, two bytes of nothing, the numbers with the high byte
        first."""
        try:
            numbers = np.frombuffer(base64.b64decode(given, validate=True), "<f2")
        except ValueError:
            numbers = np.zeros(0)
        if len(numbers) != DIMENSIONS or not abs(np.linalg.norm(numbers.astype(np.float32)) - 1) < NORM_TOLERANCE:
            raise ValueError(f"must be {DIMENSIONS} numbers of unit length, as float16 in base64")
        return struct.pack(">HH", DIMENSIONS, 0) + numbers.astype(">f2").tobytes()


def check_json(value: Any) -> Any:
    """The JSON value, or ValueError when there is something inside that cannot be kept, or that a reader cannot
    take."""
    for item, level in iterate_json(value):
        if isinstance(item, dict | list) and level > MAX_EXPORT_JSON_LEVELS:
            raise ValueError(f"may be nested at most {MAX_EXPORT_JSON_LEVELS} levels deep")
        if isinstance(item, int | float) and not is_finite(item):
            raise ValueError("numbers must be finite, and less than 10^308 or so")
        for text in item if isinstance(item, dict) else [item] if isinstance(item, str) else ():
            check_storable(text)
    if len(json.dumps(value, ensure_ascii=False)) > MAX_EXPORT_JSON_CHARACTERS:
        raise ValueError(f"may take at most {MAX_EXPORT_JSON_CHARACTERS:,} characters as JSON")
    return value


def is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer that no float comes near
        return False


def check_not_blank(text: str) -> str:
    """What PostgreSQL asks of content: that of a chunk may be of signs which show nothing."""
    if not text.strip():
        raise ValueError("may not be blank")
    return text


RowId = Annotated[UUID, Field(strict=False)]
StoredJsonObject = Annotated[dict[str, Any], AfterValidator(check_json)]
#: Columns whose values have bounds of their own, in whichever table.
COLUMN_TYPES = {
    "content": Annotated[
        Text, StringConstraints(max_length=MAX_EXPORT_CONTENT_LENGTH), AfterValidator(check_not_blank)
    ],
    "expires_at": Timestamp,
    "ttl_hours": TimeToLive,
    "tags": Annotated[list[Tag], Field(max_length=MAX_EXPORT_TAGS)],
    "topics": Annotated[list[Label], Field(max_length=64)],
    "projects": Annotated[list[Label], Field(max_length=MAX_EXPORT_PROJECTS)],
    "examples": Annotated[
        list[Annotated[Text, StringConstraints(max_length=500)]], Field(max_length=MAX_PATTERN_EXAMPLES)
    ],
    "value": Annotated[Any, AfterValidator(check_json)],
    "repositories": Annotated[list[Label], Field(max_length=64)],
    "source_session_id": SessionId,
    "target_session_id": SessionId,
}
FIELD_TYPES = {
    models.UUIDField: RowId,
    models.ForeignKey: RowId,
    models.DateTimeField: PastMoment,
    models.CharField: Label,  # or nothing, where a column may be blank
    models.TextField: Annotated[Text, StringConstraints(max_length=MAX_EXPORT_TEXT_LENGTH)],
    models.BinaryField: Annotated[str, StringConstraints(pattern=r"^\\x([0-9a-f]{2})*$")],
    models.BooleanField: bool,
    models.IntegerField: Annotated[int, Field(ge=0, le=MAX_EXPORT_COUNT)],
    models.FloatField: UnitInterval,
    models.JSONField: StoredJsonObject,
}


def get_field_type(field: models.Field) -> Any:
    if field.choices:
        type = Literal[*[value for value, _ in field.choices]]
    elif isinstance(field, models.CharField) and field.blank and not field.null:
        type = Annotated[Text, StringConstraints(max_length=field.max_length)]
    else:
        by_field = (type for of_field, type in FIELD_TYPES.items() if isinstance(field, of_field))
        type = COLUMN_TYPES.get(field.column) or next(by_field)
    return type | None if field.null else type


@cache
def build_line_schema(kind: str) -> type[BaseModel]:
    """Of a line. Columns may be missing, and have their defaults then; columns we do not know may not be there.
    What is derived may stand there, as in files of old, and says nothing."""
    own = RECORD_TYPES[kind]
    fields = {own.file_name(each.column): (get_field_type(each), None) for each in own.fields}
    fields |= dict.fromkeys(map(own.file_name, own.derived), (Any, None))
    if kind == "insight":
        fields["projects"] = (Annotated[list[Label], Field(max_length=MAX_PROJECTS_PER_INSIGHT)], [])
    if kind == "session":
        fields |= {"session_id": (SessionId, None), "history": (list[ExportedInteraction], [])}
    if kind == "memory":
        fields["vectors"] = (Annotated[list[ExportedVector], Field(max_length=MAX_VECTORS_PER_MEMORY)], [])
    return create_model(kind, __base__=StrictModel, **fields | {"kind": (Literal[kind], ...), own.key: (RowId, ...)})
