"""What a line may hold: what PostgreSQL would take, but nobody could read afterwards, is refused."""

import base64
import math
import struct
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

import numpy as np
from django.contrib.postgres.fields import ArrayField
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

from ingestion.exchange.kinds import HEADER, KINDS, VERSION
from memories.embeddings.base import DIMENSIONS
from memory_site.schemas import Label, Moment, Text, walk

#: Sixteen bits round a vector's length so far from one.
ROUNDING = 0.01
MOMENT = TypeAdapter(Moment)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Header(Strict):
    """The first line. `counts` are the lines of each kind that follow, so that a file cut short is noticed."""

    kind: Literal[HEADER]
    version: Literal[VERSION]
    namespace: str
    user: str | None
    embedding_model: Label | None
    created_at: Moment
    counts: dict[Literal[*KINDS], Annotated[int, Field(ge=0)]]


def stamped(text: str) -> str:
    """In the one form whose order is the order of time. Raises ValueError."""
    return MOMENT.validate_python(text).isoformat(timespec="microseconds")


class Interaction(Strict):
    query: Text
    answer: Text
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


def finite(value: Any) -> Any:
    """The JSON value, or ValueError when a number inside is larger than a reader can take."""
    if any(isinstance(item, float) and not math.isfinite(item) for item, _ in walk(value)):
        raise ValueError("numbers must be finite")
    return value


Object = Annotated[dict[str, Any], AfterValidator(finite)]
TYPES = {
    models.UUIDField: UUID,
    models.ForeignKey: UUID,
    models.DateTimeField: Moment,
    models.CharField: Text,
    models.TextField: Text,
    models.BinaryField: Annotated[str, StringConstraints(pattern=r"^\\x([0-9a-f]{2})*$")],
    models.BooleanField: bool,
    models.IntegerField: int,
    models.FloatField: float,
    models.JSONField: Object,
    ArrayField: list[Text],
}


def type_of(field: models.Field) -> Any:
    return next(type for of_field, type in TYPES.items() if isinstance(field, of_field))


@cache
def shape(kind: str) -> type[BaseModel]:
    """Of a line. Columns may be missing, and have their defaults then; columns we do not know may not be there."""
    fields = {each.column: (type_of(each) | None, None) for each in KINDS[kind].fields}
    if kind == "session":
        fields["history"] = (list[Interaction], [])
    if kind == "memory":
        fields["vectors"] = (list[VectorOf], [])
    return create_model(kind, __base__=Strict, **fields | {"kind": (Literal[kind], ...), "id": (UUID, ...)})
