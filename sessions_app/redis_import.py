"""Sessions of a Redis or Valkey server: reading them, and merging them into ours.

One session is one transaction that holds its row: whoever adds to it meanwhile waits a moment and loses nothing.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from django.conf import settings
from django.db import transaction
from pydantic import AfterValidator, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json
from redis import Redis

from memory_site.core.db.ids import uuid7
from memory_site.core.db.retry import retry_on_deadlock
from memory_site.core.http.fields import Timestamp, parse_datetime
from sessions_app import history
from sessions_app.commands import format_validation_error
from sessions_app.encryption import decrypt
from sessions_app.models import SessionMemory
from sessions_app.schemas.sessions import InteractionIn, SessionId, check_clock_skew

#: How a value is asked for, by the type the server says it has.
READ_COMMANDS = {b"list": lambda key: ("LRANGE", key, 0, -1), b"string": lambda key: ("GET", key)}
MAX_REPORTED_ERRORS = 10
SESSION_ID_ADAPTER = TypeAdapter(SessionId)
# The row is made or locked, and its time to live never shortened: that would drop what it holds.
LOCK_SESSION_SQL = f"""
INSERT INTO {history.SESSION_TABLE} AS kept (id, namespace_id, session_id, history, ttl_hours)
VALUES (%(id)s, %(namespace)s, %(session)s, '[]', %(own)s::float8)
ON CONFLICT (namespace_id, session_id) DO UPDATE SET ttl_hours =
    CASE WHEN %(own)s::float8 > coalesce(kept.ttl_hours, %(ttl_hours)s::float8) THEN %(own)s::float8
    ELSE kept.ttl_hours END
RETURNING
    sessions_trim_history(kept.history, clock_timestamp() - {history.STORED_TTL_SQL}, %(most)s::integer),
    sessions_format_timestamp(clock_timestamp() - {history.STORED_TTL_SQL}),
    sessions_format_timestamp(clock_timestamp())
"""


class InvalidSession(Exception):
    """A key or its value is no session. `args` are sentences, one for each thing that is wrong."""


class ImportedInteraction(NamedTuple):
    """One interaction. Times are text of one form, in UTC, so that they compare; None where none was given."""

    timestamp: str | None
    query: str
    answer: str


def parse_timestamp(value: Any) -> Any:
    """Numbers are seconds since 1970, and times without an offset are UTC. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError("must lie between 2000 and 2200") from error
    moment = parse_datetime(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class LenientInteraction(InteractionIn):
    """What the API takes, and times of more forms; fields it does not know are left behind."""

    model_config = ConfigDict(extra="ignore")

    timestamp: Annotated[Timestamp, BeforeValidator(parse_timestamp), AfterValidator(check_clock_skew)] | None = None


def parse_session_id(key: bytes, prefix: bytes) -> str:
    """Raises Unusable."""
    try:
        if not key.startswith(prefix):
            raise InvalidSession(
                f"it does not begin with {prefix.decode(errors='replace')!r}: --prefix says what ids do not have"
            )
        return SESSION_ID_ADAPTER.validate_python(key.removeprefix(prefix).decode())
    except UnicodeDecodeError:
        raise InvalidSession("it is not UTF-8") from None
    except ValidationError as error:
        raise InvalidSession(f"the session id: {format_validation_error(error)}") from None


def fetch_values(client: Redis, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes, Any]]:
    """Each key that is still there with its type and value, in two round trips. An error is a value too."""
    kinds = execute_pipeline(client, [("TYPE", key) for key in keys])
    asked = [READ_COMMANDS.get(kind, lambda key: ("EXISTS", key))(key) for key, kind in zip(keys, kinds, strict=True)]
    for key, kind, value in zip(keys, kinds, execute_pipeline(client, asked), strict=True):
        if value not in (None, [], 0):
            yield key, kind, value


def execute_pipeline(client: Redis, commands: Iterable[tuple]) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return pipeline.execute(raise_on_error=False)


def parse_interactions(kind: bytes, value: Any) -> list[ImportedInteraction]:
    """Oldest first. Raises Unusable for all that is wrong: of a session everything is imported, or nothing."""
    found, wrong = [], []
    read = LenientInteraction.model_validate_json if kind == b"list" else LenientInteraction.model_validate
    for place, item in enumerate(parse_items(kind, value)):
        try:
            found.append(ImportedInteraction(**read(item).to_interaction()))
        except ValidationError as error:
            wrong.append(f"index {place}: {format_validation_error(error)}")
    if wrong:
        more = len(wrong) - MAX_REPORTED_ERRORS
        raise InvalidSession(*wrong[:MAX_REPORTED_ERRORS], *([f"and {more} more"] if more > 0 else []))
    return sort_oldest_first(found)


def parse_items(kind: bytes, value: Any) -> list[Any]:
    if refused := next((each for each in (kind, value) if isinstance(each, Exception)), None):
        raise InvalidSession(f"the server says: {refused}")
    if kind not in READ_COMMANDS:
        raise InvalidSession(f"it holds a {kind.decode()}, not a list or a string")
    try:
        items = value if kind == b"list" else from_json(value)
    except ValueError as error:
        raise InvalidSession(f"it is not JSON: {error}") from None
    if not isinstance(items, list):
        raise InvalidSession("it is not an array")
    return items


def sort_oldest_first(given: list[ImportedInteraction]) -> list[ImportedInteraction]:
    """Turned round when its times run backwards, as LPUSH leaves them; among equal times the place decides later."""
    times = [each.timestamp for each in given if each.timestamp]
    return given[::-1] if times and times[0] > times[-1] else given


@retry_on_deadlock
def merge(
    namespace_id: int,
    session_id: str,
    given: Sequence[ImportedInteraction],
    ttl_hours: float | None = None,
    dry_run: bool = False,
) -> Counter:
    """Add what the session does not hold yet. Counts of `added`, `there`, `old` and `surplus` (beyond the newest that
    a session keeps). Raises HistoryUnreadable."""
    with transaction.atomic():
        held, oldest, now = lock_session(namespace_id, session_id, ttl_hours)
        known = set(held)
        young = [each for each in fill_timestamps(given, held, now) if each.timestamp > oldest]
        fresh = [each for each in young if each not in known]
        lost = max(0, len(held) + len(fresh) - settings.MEMORY_MAX_CONTEXT_LENGTH)
        newest = sorted([*held, *fresh], key=lambda each: each.timestamp)[lost:]
        added = [each for each in newest if each not in known]
        if added:
            history.add(namespace_id, session_id, [each._asdict() for each in added])
        transaction.set_rollback(dry_run or not (held or added))  # no empty session is left behind
    old, there, surplus = len(given) - len(young), len(young) - len(fresh), len(fresh) - len(added)
    return Counter(added=len(added), there=there, old=old, surplus=surplus)


def lock_session(
    namespace_id: int, session_id: str, ttl_hours: float | None
) -> tuple[list[ImportedInteraction], str, str]:
    """What the session holds, oldest first; the time up to which that would be too old; and now. One that is over
    begins anew."""
    SessionMemory.objects.outdated().filter(namespace_id=namespace_id, session_id=session_id).delete()
    kept, oldest, now = history.fetch_row(LOCK_SESSION_SQL, namespace_id, session_id, id=uuid7(), own=ttl_hours)
    return [ImportedInteraction(**decrypt(each)) for each in json.loads(kept)], oldest, now


def fill_timestamps(
    given: Sequence[ImportedInteraction], held: Iterable[ImportedInteraction], now: str
) -> Iterator[ImportedInteraction]:
    """Those without a time come right after the one before them, or before all that is known; alone, now.

    What is held already has its time from there. So they are found again, and what a full session has let go stays
    the oldest, and is not brought back as something new.
    """
    ours = {(each.query, each.answer): each.timestamp for each in held}
    times = [each.timestamp or ours.get((each.query, each.answer)) for each in given]
    first = next(filter(None, times), None) or min(ours.values(), default=None)
    latest = subtract_microsecond(first) if first else now
    for each, time in zip(given, times, strict=True):
        latest = time or latest
        yield each._replace(timestamp=latest)


def subtract_microsecond(timestamp: str) -> str:
    return (datetime.fromisoformat(timestamp) - timedelta(microseconds=1)).isoformat(timespec="microseconds")
