"""Shapes every part of the wire shares: what text, labels, moments and JSON objects may look like."""

import math
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from ninja import Schema
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, Field, StringConstraints

LARGEST_INTEGER = 2**53 - 1  # what every JSON reader keeps exactly (RFC 8259, section 6)
JSON_BYTES, JSON_LEVELS, JSON_KEYS = 64 * 1024, 8, 256
CONTENT_LENGTH = 100_000
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
# Letters and symbols by category that show nothing on a screen all the same.
FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


class In(Schema):
    """What a caller sends: nothing unknown, nothing converted behind his back."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def storable(text: str) -> str:
    """The text, or ValueError when PostgreSQL cannot keep it."""
    if "\0" in text:
        raise ValueError("may not contain NUL characters")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("may not contain lone surrogates")
    return text


def is_visible(text: str) -> bool:
    return any(unicodedata.category(c)[0] in "LNPS" and c not in FILLERS for c in text)


def visible(text: str) -> str:
    """The text, or ValueError when a reader would see nothing of it."""
    if not is_visible(text):
        raise ValueError("may not be blank")
    return text


def walk(value: Any) -> Iterator[tuple[Any, int]]:
    """Every value inside, with its level. Iterative, so that depth cannot exhaust the stack."""
    waiting = [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        yield item, level
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        waiting.extend((child, level + 1) for child in children)


def bounded_object(value: Any) -> Any:
    """The JSON object, or ValueError when it is too large, too deep or cannot be kept exactly."""
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    keys = size = 0
    for item, level in walk(value):
        size += weight(item)
        if isinstance(item, dict):
            keys += len(item)
        if level > JSON_LEVELS and isinstance(item, dict | list):
            raise ValueError(f"may be nested at most {JSON_LEVELS} levels deep")
        if keys > JSON_KEYS:
            raise ValueError(f"may hold at most {JSON_KEYS} keys")
        if size > JSON_BYTES:
            raise ValueError(f"may take at most {JSON_BYTES} bytes")
    return value


def weight(item: Any) -> int:
    """Bytes the value takes as JSON, children not counted. ValueError for what cannot be kept."""
    match item:
        case str():
            return len(storable(item).encode()) + 2
        case dict():
            return 2 + sum(len(storable(key).encode()) + 4 for key in item)
        case bool() | None:
            return 5
        case int() if abs(item) > LARGEST_INTEGER:
            raise ValueError("integers must lie within ±(2^53 − 1)")
        case float() if not math.isfinite(item):
            raise ValueError("numbers must be finite")
        case list():
            return 2 + len(item)
        case _:
            return len(str(item))


def written(value: Any) -> Any:
    """Times arrive as ISO 8601 text only: a number would be taken for seconds of an epoch nobody named."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or len(value) < 11:
        raise ValueError("must be an ISO 8601 time with offset")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("must be an ISO 8601 time with offset") from error


def within_reach(value: datetime) -> datetime:
    """The moment, or ValueError when it lies outside 2000–2200: one such row would break every later list."""
    try:
        moment = value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must lie between 2000 and 2200") from error
    if not EARLIEST <= moment < LATEST:
        raise ValueError("must lie between 2000 and 2200")
    return moment


def in_the_future(value: datetime) -> datetime:
    if value <= datetime.now(UTC):
        raise ValueError("must lie in the future")
    return value


def in_the_past(value: datetime) -> datetime:
    if value > datetime.now(UTC):
        raise ValueError("may not lie in the future")
    return value


Text = Annotated[str, AfterValidator(storable)]
Content = Annotated[Text, StringConstraints(min_length=1, max_length=CONTENT_LENGTH), AfterValidator(visible)]
Query = Annotated[Text, StringConstraints(min_length=1, max_length=4096), AfterValidator(visible)]
Label = Annotated[Text, StringConstraints(min_length=1, max_length=255), AfterValidator(visible)]
Tag = Annotated[Text, StringConstraints(min_length=1, max_length=128), AfterValidator(visible)]
Tags = Annotated[list[Tag], Field(max_length=64)]
Summary = Annotated[Text, StringConstraints(min_length=1, max_length=10_000)]
Share = Annotated[float, Field(ge=0, le=1)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(bounded_object)]
Moment = Annotated[AwareDatetime, BeforeValidator(written), AfterValidator(within_reach)]
FutureMoment = Annotated[Moment, AfterValidator(in_the_future)]
PastMoment = Annotated[Moment, AfterValidator(in_the_past)]
