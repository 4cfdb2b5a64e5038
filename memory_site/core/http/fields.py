"""Field types of all schemas: text, labels, timestamps and JSON objects."""

import math
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self, get_args

from ninja import Schema
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)

from memory_site.core.http.field_errors import explain_unknown_fields

MAX_SAFE_INTEGER = 2**53 - 1  # what every JSON reader keeps exactly (RFC 8259, section 6)
MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_JSON_KEYS = 64 * 1024, 8, 256
MAX_CONTENT_LENGTH, MAX_LABEL_LENGTH, MAX_KEY_LENGTH = 100_000, 255, 512
MIN_DATETIME, MAX_DATETIME = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
# Letters and symbols by Unicode category that are nevertheless invisible.
INVISIBLE_CHARACTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

#: Default of a patch's field that may be omitted but may not be null. `Any`, since None is no value of the type.
OMITTED: Any = None


class InputSchema(Schema):
    """A request body: unknown fields are refused, and types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    #: Fields of other forms of this body: an unknown field may be a misspelt one of them.
    fields_of_other_forms: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _run_root_validator(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Take the place of ninja's validator of this name, which validates every object twice, so that one three
        levels down is validated eight times: a body has no attributes, for which the second time is there."""
        return validate(values)

    @model_validator(mode="wrap")
    @classmethod
    def suggest_known_fields(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(values)
        except ValidationError as error:
            raise explain_unknown_fields(error, list_field_paths(cls)) from None


def list_field_paths(schema: type[InputSchema]) -> list[str]:
    """List the names of the fields, and the paths of those in nested objects."""
    nested = [
        f"{name}.{inner}"
        for name, field in schema.model_fields.items()
        for part in (field.annotation, *get_args(field.annotation))
        if isinstance(part, type) and issubclass(part, InputSchema)
        for inner in part.model_fields
    ]
    return [*schema.model_fields, *schema.fields_of_other_forms, *nested]


def check_storable(text: str) -> str:
    """Return the text. Raises ValueError if PostgreSQL cannot store it."""
    if "\0" in text:
        raise ValueError("may not contain NUL characters")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("may not contain lone surrogates")
    return text


def is_visible(text: str) -> bool:
    return any(unicodedata.category(c)[0] in "LNPS" and c not in INVISIBLE_CHARACTERS for c in text)


def check_visible(text: str) -> str:
    """Return the text. Raises ValueError if it has no visible character."""
    if not is_visible(text):
        raise ValueError("may not be blank")
    return text


def iterate_json(value: Any) -> Iterator[tuple[Any, int]]:
    """Yield every value inside with its level. Iterative, so that depth cannot exhaust the stack."""
    waiting = [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        yield item, level
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        waiting.extend((child, level + 1) for child in children)


def check_json_object(value: Any) -> Any:
    """Return the JSON object. Raises ValueError if it is too large, too deep or cannot be stored exactly."""
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    keys = size = 0
    for item, level in iterate_json(value):
        size += measure_json_bytes(item)
        if isinstance(item, dict):
            keys += len(item)
        if level > MAX_JSON_DEPTH and isinstance(item, dict | list):
            raise ValueError(f"may be nested at most {MAX_JSON_DEPTH} levels deep")
        if keys > MAX_JSON_KEYS:
            raise ValueError(f"may hold at most {MAX_JSON_KEYS} keys")
        if size > MAX_JSON_BYTES:
            raise ValueError(f"may take at most {MAX_JSON_BYTES} bytes")
    return value


def measure_json_bytes(item: Any) -> int:
    """Count the bytes of the value as JSON, without children. Raises ValueError if it cannot be stored exactly."""
    match item:
        case str():
            return len(check_storable(item).encode()) + 2
        case dict():
            return 2 + sum(len(check_storable(key).encode()) + 4 for key in item)
        case bool() | None:
            return 5
        case int() if abs(item) > MAX_SAFE_INTEGER:
            raise ValueError("integers must lie within ±(2^53 − 1)")
        case float() if not math.isfinite(item):
            raise ValueError("numbers must be finite")
        case list():
            return 2 + len(item)
        case _:
            return len(str(item))


def parse_datetime(value: Any) -> Any:
    """Parse ISO 8601 text. Numbers are refused: the epoch and unit they count in are unknown."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or len(value) < 11:
        raise ValueError("must be an ISO 8601 time with offset")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("must be an ISO 8601 time with offset") from error


def check_datetime_range(value: datetime) -> datetime:
    """Return the time in UTC. Raises ValueError outside 2000–2200: one such row would break every later list."""
    try:
        moment = value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must lie between 2000 and 2200") from error
    if not MIN_DATETIME <= moment < MAX_DATETIME:
        raise ValueError("must lie between 2000 and 2200")
    return moment


def check_future(value: datetime) -> datetime:
    if value <= datetime.now(UTC):
        raise ValueError("must lie in the future")
    return value


def check_past(value: datetime) -> datetime:
    if value > datetime.now(UTC):
        raise ValueError("may not lie in the future")
    return value


Text = Annotated[str, AfterValidator(check_storable)]
Content = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_CONTENT_LENGTH), AfterValidator(check_visible)]
QueryText = Annotated[Text, StringConstraints(min_length=1, max_length=4096), AfterValidator(check_visible)]
Label = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_LABEL_LENGTH), AfterValidator(check_visible)]
#: The caller's own name of a memory. It is compared byte by byte, so it may hold what no person reads.
Key = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_KEY_LENGTH)]
Tag = Annotated[Text, StringConstraints(min_length=1, max_length=128), AfterValidator(check_visible)]
Tags = Annotated[list[Tag], Field(max_length=64)]
Summary = Annotated[Text, StringConstraints(min_length=1, max_length=10_000)]
UnitInterval = Annotated[float, Field(ge=0, le=1)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(check_json_object)]
Timestamp = Annotated[AwareDatetime, BeforeValidator(parse_datetime), AfterValidator(check_datetime_range)]
FutureTimestamp = Annotated[Timestamp, AfterValidator(check_future)]
PastTimestamp = Annotated[Timestamp, AfterValidator(check_past)]
