"""Validation of lines. It also rejects values that PostgreSQL would store but that no API response could contain."""

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
    MAX_KEY_LENGTH,
    Content,
    Key,
    Label,
    Tag,
    Text,
    Timestamp,
    UnitInterval,
    check_storable,
    iterate_json,
)
from sessions_app.schemas.sessions import RecordedTimestamp, SessionId, TimeToLive

#: float16 rounding moves a vector's length from one by less than this.
NORM_TOLERANCE = 0.01
#: Larger than the limits of the API: stored rows grow by a chunk's position in the metadata or a tool result's title.
MAX_EXPORT_JSON_LEVELS, MAX_EXPORT_JSON_CHARACTERS, MAX_EXPORT_CONTENT_LENGTH, MAX_EXPORT_TEXT_LENGTH = (
    32,
    256 * 1024,
    200_000,
    10_000,
)
MAX_EXPORT_TAGS, MAX_EXPORT_PROJECTS, MAX_VECTORS_PER_MEMORY, MAX_EXPORT_COUNT = 256, 1_000, 16, 2**31 - 1


HeaderKind = Literal[HEADER_KIND]  # type: ignore[valid-type]  # a constant of record_types
SupportedVersion = Literal[EXPORT_VERSION]  # type: ignore[valid-type]  # a constant of record_types
RecordTypeName = Literal[*RECORD_TYPES]  # type: ignore[valid-type]  # derived from the table of record types


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class ExportHeader(StrictModel):
    """The first line. `counts` are the numbers of following lines by kind, which reveal a truncated file."""

    kind: HeaderKind
    version: SupportedVersion
    namespace: str
    user: str | None
    embedding_model: Label | None
    created_at: Timestamp
    counts: dict[RecordTypeName, Annotated[int, Field(ge=0)]]


RECORDED_TIMESTAMP_ADAPTER = TypeAdapter(RecordedTimestamp)


def normalize_timestamp(text: str) -> str:
    """Return the time in UTC with microseconds, a form that sorts by time. Raises ValueError."""
    return RECORDED_TIMESTAMP_ADAPTER.validate_python(text).isoformat(timespec="microseconds")


class ExportedInteraction(StrictModel):
    query: Content
    answer: Content
    timestamp: Annotated[str, AfterValidator(normalize_timestamp)]


class ExportedVector(StrictModel):
    model: Label
    vector: Annotated[str, StringConstraints(max_length=4 * DIMENSIONS)]

    @field_validator("vector")
    @classmethod
    def decode_vector(cls, encoded: str) -> bytes:
        """Convert base64 of little-endian float16 numbers to the input of halfvec_recv.

        That is the number of dimensions and a zero, both big-endian uint16, then big-endian float16 numbers.
        """
        try:
            numbers = np.frombuffer(base64.b64decode(encoded, validate=True), "<f2")
        except ValueError:
            numbers = np.zeros(0)
        if len(numbers) != DIMENSIONS or not abs(np.linalg.norm(numbers.astype(np.float32)) - 1) < NORM_TOLERANCE:
            raise ValueError(f"must be {DIMENSIONS} numbers of unit length, as float16 in base64")
        return struct.pack(">HH", DIMENSIONS, 0) + numbers.astype(">f2").tobytes()


def check_json(value: Any) -> Any:
    """Return the JSON value. Raises ValueError for one that PostgreSQL or usual JSON readers cannot take."""
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
    except OverflowError:  # an integer beyond the range of a float
        return False


def check_not_blank(text: str) -> str:
    """Apply the database's check only: unlike other content, a chunk may consist of invisible characters."""
    if not text.strip():
        raise ValueError("may not be blank")
    return text


RowId = Annotated[UUID, Field(strict=False)]
StoredJsonObject = Annotated[dict[str, Any], AfterValidator(check_json)]
#: Types of columns with bounds of their own, in every table.
COLUMN_TYPES: dict[str, Any] = {
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
FIELD_TYPES: dict[type[models.Field], Any] = {
    models.UUIDField: RowId,
    models.ForeignKey: RowId,
    models.DateTimeField: RecordedTimestamp,
    models.CharField: Label,  # or an empty text, where a column may be blank
    models.TextField: Annotated[Text, StringConstraints(max_length=MAX_EXPORT_TEXT_LENGTH)],
    models.BinaryField: Annotated[str, StringConstraints(pattern=r"^\\x([0-9a-f]{2})*$")],
    models.BooleanField: bool,
    models.IntegerField: Annotated[int, Field(ge=0, le=MAX_EXPORT_COUNT)],
    models.FloatField: UnitInterval,
    models.JSONField: StoredJsonObject,
}


def get_field_type(field: models.Field) -> Any:
    """Return the type of a column's value: by its choices, its name or its field class, or None if nullable."""
    value_type: Any
    if field.choices:
        value_type = Literal[*[value for value, _ in field.choices]]
    elif field.max_length == MAX_KEY_LENGTH:
        value_type = Key
    elif isinstance(field, models.CharField) and field.blank and not field.null:
        value_type = Annotated[Text, StringConstraints(max_length=field.max_length)]
    else:
        by_class = (each for field_class, each in FIELD_TYPES.items() if isinstance(field, field_class))
        value_type = COLUMN_TYPES.get(str(field.column)) or next(by_class)
    return value_type | None if field.null else value_type


@cache
def build_line_schema(kind: str) -> type[BaseModel]:
    """Return the schema of a line. Missing columns get their defaults; unknown columns are an error.

    Derived columns are accepted, since older files have them, and ignored.
    """
    record_type = RECORD_TYPES[kind]
    fields: dict[str, Any] = {
        record_type.file_name(str(field.column)): (get_field_type(field), None) for field in record_type.fields
    }
    fields |= dict.fromkeys(map(record_type.file_name, record_type.derived), (Any, None))
    if kind == "insight":
        fields["projects"] = (Annotated[list[Label], Field(max_length=MAX_PROJECTS_PER_INSIGHT)], [])
    if kind == "session":
        fields |= {"session_id": (SessionId, None), "history": (list[ExportedInteraction], [])}
    if kind == "memory":
        fields["vectors"] = (Annotated[list[ExportedVector], Field(max_length=MAX_VECTORS_PER_MEMORY)], [])
    fields |= {"kind": (Literal[kind], ...), record_type.key: (RowId, ...)}
    return create_model(kind, __base__=StrictModel, **fields)
