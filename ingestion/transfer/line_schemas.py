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

from ingestion.transfer.record_types import HEADER, KINDS, VERSION
from memories.embeddings.base import DIMENSIONS
from memories.insights.storage import PROJECTS_AT_MOST
from memories.knowledge.models import EXAMPLES_KEPT
from memory_site.core.http.fields import Content, Label, Moment, Share, Tag, Text, storable, walk
from sessions_app.schemas.sessions import SessionId, TimeToLive, not_far_ahead

#: Sixteen bits round a vector's length so far from one.
ROUNDING = 0.01
#: What the API takes grows a little here: places are added to a chunk's metadata, a title to a tool's result.
JSON_LEVELS, JSON_CHARACTERS, CONTENT_LENGTH, TEXT_LENGTH = 32, 256 * 1024, 200_000, 10_000
TAGS, PROJECTS, VECTORS, LARGEST_COUNT = 256, 1_000, 16, 2**31 - 1


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class Header(Strict):
    """The first line. `counts` are the lines of each kind that follow, so that a file cut short is noticed."""

    kind: Literal[HEADER]
    version: Literal[VERSION]
    namespace: str
    user: str | None
    embedding_model: Label | None
    created_at: Moment
    counts: dict[Literal[*KINDS], Annotated[int, Field(ge=0)]]


Past = Annotated[Moment, AfterValidator(not_far_ahead)]
PAST = TypeAdapter(Past)


def stamped(text: str) -> str:
    """In the one form whose order is the order of time. Raises ValueError."""
    return PAST.validate_python(text).isoformat(timespec="microseconds")


class Interaction(Strict):
    query: Content
    answer: Content
    timestamp: Annotated[str, AfterValidator(stamped)]


class VectorOf(Strict):
    model: Label
    vector: Annotated[str, StringConstraints(max_length=4 * DIMENSIONS)]

    @field_validator("vector")
    @classmethod
    def unpacked(cls, given: str) -> bytes:
        """As PostgreSQL receives a halfvec: how many numbers, two bytes of nothing, the numbers with the high byte
        first."""
        try:
            numbers = np.frombuffer(base64.b64decode(given, validate=True), "<f2")
        except ValueError:
            numbers = np.zeros(0)
        if len(numbers) != DIMENSIONS or not abs(np.linalg.norm(numbers.astype(np.float32)) - 1) < ROUNDING:
            raise ValueError(f"must be {DIMENSIONS} numbers of unit length, as float16 in base64")
        return struct.pack(">HH", DIMENSIONS, 0) + numbers.astype(">f2").tobytes()


def readable(value: Any) -> Any:
    """The JSON value, or ValueError when there is something inside that cannot be kept, or that a reader cannot
    take."""
    for item, level in walk(value):
        if isinstance(item, dict | list) and level > JSON_LEVELS:
            raise ValueError(f"may be nested at most {JSON_LEVELS} levels deep")
        if isinstance(item, int | float) and not is_finite(item):
            raise ValueError("numbers must be finite, and less than 10^308 or so")
        for text in item if isinstance(item, dict) else [item] if isinstance(item, str) else ():
            storable(text)
    if len(json.dumps(value, ensure_ascii=False)) > JSON_CHARACTERS:
        raise ValueError(f"may take at most {JSON_CHARACTERS:,} characters as JSON")
    return value


def is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer that no float comes near
        return False


def not_blank(text: str) -> str:
    """What PostgreSQL asks of content: that of a chunk may be of signs which show nothing."""
    if not text.strip():
        raise ValueError("may not be blank")
    return text


Id = Annotated[UUID, Field(strict=False)]
Object = Annotated[dict[str, Any], AfterValidator(readable)]
#: Columns whose values have bounds of their own, in whichever table.
OF_COLUMN = {
    "content": Annotated[Text, StringConstraints(max_length=CONTENT_LENGTH), AfterValidator(not_blank)],
    "expires_at": Moment,
    "ttl_hours": TimeToLive,
    "tags": Annotated[list[Tag], Field(max_length=TAGS)],
    "topics": Annotated[list[Label], Field(max_length=64)],
    "projects": Annotated[list[Label], Field(max_length=PROJECTS)],
    "examples": Annotated[list[Annotated[Text, StringConstraints(max_length=500)]], Field(max_length=EXAMPLES_KEPT)],
    "value": Annotated[Any, AfterValidator(readable)],
    "repositories": Annotated[list[Label], Field(max_length=64)],
    "source_session_id": SessionId,
    "target_session_id": SessionId,
}
OF_FIELD = {
    models.UUIDField: Id,
    models.ForeignKey: Id,
    models.DateTimeField: Past,
    models.CharField: Label,  # or nothing, where a column may be blank
    models.TextField: Annotated[Text, StringConstraints(max_length=TEXT_LENGTH)],
    models.BinaryField: Annotated[str, StringConstraints(pattern=r"^\\x([0-9a-f]{2})*$")],
    models.BooleanField: bool,
    models.IntegerField: Annotated[int, Field(ge=0, le=LARGEST_COUNT)],
    models.FloatField: Share,
    models.JSONField: Object,
}


def type_of(field: models.Field) -> Any:
    if field.choices:
        type = Literal[*[value for value, _ in field.choices]]
    elif isinstance(field, models.CharField) and field.blank and not field.null:
        type = Annotated[Text, StringConstraints(max_length=field.max_length)]
    else:
        by_field = (type for of_field, type in OF_FIELD.items() if isinstance(field, of_field))
        type = OF_COLUMN.get(field.column) or next(by_field)
    return type | None if field.null else type


@cache
def shape(kind: str) -> type[BaseModel]:
    """Of a line. Columns may be missing, and have their defaults then; columns we do not know may not be there.
    What is derived may stand there, as in files of old, and says nothing."""
    own = KINDS[kind]
    fields = {each.column: (type_of(each), None) for each in own.fields} | dict.fromkeys(own.derived, (Any, None))
    if kind == "insight":
        fields["projects"] = (Annotated[list[Label], Field(max_length=PROJECTS_AT_MOST)], [])
    if kind == "session":
        fields |= {"session_id": (SessionId, None), "history": (list[Interaction], [])}
    if kind == "memory":
        fields["vectors"] = (Annotated[list[VectorOf], Field(max_length=VECTORS)], [])
    return create_model(kind, __base__=Strict, **fields | {"kind": (Literal[kind], ...), own.key: (Id, ...)})
