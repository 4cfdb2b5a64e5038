"""Read sessions from a Redis or Valkey server and merge them into ours.

Each session is merged in one transaction that locks its row: concurrent additions wait for it and lose nothing.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from django.conf import settings
from django.db import transaction
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json
from redis import Redis

from memory_site.core.db.ids import uuid7
from memory_site.core.db.retry import retry_on_deadlock
from memory_site.core.http.fields import parse_datetime
from sessions_app import history
from sessions_app.commands import format_validation_error
from sessions_app.encryption import decrypt
from sessions_app.models import SessionMemory
from sessions_app.schemas.sessions import InteractionIn, RecordedTimestamp, SessionId

#: The command that reads a value, by its type.
READ_COMMANDS = {b"list": lambda key: ("LRANGE", key, 0, -1), b"string": lambda key: ("GET", key)}
MAX_REPORTED_ERRORS = 10
SESSION_ID_ADAPTER = TypeAdapter(SessionId)
# Inserts or locks the row. The time to live is never shortened: that would drop interactions.
LOCK_SESSION_SQL = f"""
INSERT INTO {history.SESSION_TABLE} AS stored (id, namespace_id, session_id, history, ttl_hours)
VALUES (%(id)s, %(namespace)s, %(session)s, '[]', %(own)s::float8)
ON CONFLICT (namespace_id, session_id) DO UPDATE SET ttl_hours =
    CASE WHEN excluded.ttl_hours > coalesce(stored.ttl_hours, %(ttl_hours)s::float8) THEN excluded.ttl_hours
    ELSE stored.ttl_hours END
RETURNING id
"""
# The clock is read when the row is locked.
SELECT_LOCKED_SQL = f"""
SELECT sessions_trim_history(stored.history, clock_timestamp() - {history.STORED_TTL_SQL}, %(most)s::integer),
    sessions_format_timestamp(clock_timestamp() - {history.STORED_TTL_SQL}),
    sessions_format_timestamp(clock_timestamp())
FROM {history.SESSION_TABLE} stored WHERE namespace_id = %(namespace)s AND session_id = %(session)s
"""


class InvalidSession(Exception):
    """A key or its value is not a session. `args` holds one sentence for each error."""


class ImportedInteraction(NamedTuple):
    """One interaction. Its time is UTC text with microseconds, so that times compare as text; None when absent."""

    timestamp: str | None
    query: str
    answer: str


class DatedInteraction(NamedTuple):
    """An interaction whose time is known: a stored one, or an imported one with its time filled in."""

    timestamp: str
    query: str
    answer: str


def parse_timestamp(value: Any) -> Any:
    """Return an aware datetime: numbers are Unix seconds, times without an offset are UTC. Raise ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError("must lie between 2000 and 2200") from error
    moment = parse_datetime(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class LenientInteraction(InteractionIn):
    """An interaction as the API accepts it, but with more forms of time; unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore")

    timestamp: Annotated[RecordedTimestamp, BeforeValidator(parse_timestamp)] | None = None


def parse_session_id(key: bytes, prefix: bytes) -> str:
    """Return the session id in a key. Raise InvalidSession."""
    try:
        if not key.startswith(prefix):
            raise InvalidSession(
                f"it does not begin with {prefix.decode(errors='replace')!r}; --prefix sets the part before the id"
            )
        return SESSION_ID_ADAPTER.validate_python(key.removeprefix(prefix).decode())
    except UnicodeDecodeError:
        raise InvalidSession("it is not UTF-8") from None
    except ValidationError as error:
        raise InvalidSession(f"the session id: {format_validation_error(error)}") from None


def fetch_values(client: Redis, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Any, Any]]:
    """Yield (key, type, value) of the keys that still exist, in two round trips. Type and value may be exceptions."""
    kinds = execute_pipeline(client, [("TYPE", key) for key in keys])
    reads = [READ_COMMANDS.get(kind, lambda key: ("EXISTS", key))(key) for key, kind in zip(keys, kinds, strict=True)]
    for key, kind, value in zip(keys, kinds, execute_pipeline(client, reads), strict=True):
        if value not in (None, [], 0):
            yield key, kind, value


def execute_pipeline(client: Redis, commands: Iterable[tuple]) -> list[Any]:
    """Return the answers in order; an error is an answer too."""
    with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return pipeline.execute(raise_on_error=False)


def parse_interactions(kind: Any, value: Any) -> list[ImportedInteraction]:
    """Return the interactions of a session, oldest first.

    Raise InvalidSession for everything that is wrong at once: a session is imported whole or not at all.
    """
    interactions, errors = [], []
    parse = LenientInteraction.model_validate_json if kind == b"list" else LenientInteraction.model_validate
    for index, item in enumerate(parse_items(kind, value)):
        try:
            interactions.append(ImportedInteraction(**parse(item).to_interaction()))
        except ValidationError as error:
            errors.append(f"index {index}: {format_validation_error(error)}")
    if errors:
        more = len(errors) - MAX_REPORTED_ERRORS
        raise InvalidSession(*errors[:MAX_REPORTED_ERRORS], *([f"and {more} more"] if more > 0 else []))
    return sort_oldest_first(interactions)


def parse_items(kind: Any, value: Any) -> list[Any]:
    """Return the items of a Redis list, or of the JSON array in a string. Raise InvalidSession."""
    if failure := next((each for each in (kind, value) if isinstance(each, Exception)), None):
        raise InvalidSession(f"the server answers: {failure}")
    if kind not in READ_COMMANDS:
        raise InvalidSession(f"it is a {kind.decode()}, not a list or a string")
    try:
        items = value if kind == b"list" else from_json(value)
    except ValueError as error:
        raise InvalidSession(f"it is not JSON: {error}") from None
    if not isinstance(items, list):
        raise InvalidSession("it is not an array")
    return items


def sort_oldest_first(interactions: list[ImportedInteraction]) -> list[ImportedInteraction]:
    """Reverse a list whose times run backwards, as LPUSH leaves it.

    The exact order is by time; the order here decides only between equal times.
    """
    times = [each.timestamp for each in interactions if each.timestamp]
    return interactions[::-1] if times and times[0] > times[-1] else interactions


@retry_on_deadlock
def merge_session(
    namespace_id: int,
    session_id: str,
    interactions: Sequence[ImportedInteraction],
    ttl_hours: float | None = None,
    dry_run: bool = False,
) -> Counter[str]:
    """Add the interactions that the session does not have yet. Raise HistoryUnreadable.

    Return the counts `added`, `existing`, `expired` and `surplus` (older than the newest that a session keeps).
    """
    with transaction.atomic():
        stored, oldest, now = lock_session(namespace_id, session_id, ttl_hours)
        unexpired = [each for each in fill_timestamps(interactions, stored, now) if each.timestamp > oldest]
        new = exclude_known(unexpired, stored)
        added = drop_surplus(new, stored)
        if added:
            history.add(namespace_id, session_id, [each._asdict() for each in added])
        transaction.set_rollback(dry_run or not (stored or added))  # an empty session is not left behind
    existing, surplus = len(unexpired) - len(new), len(new) - len(added)
    return Counter(added=len(added), existing=existing, expired=len(interactions) - len(unexpired), surplus=surplus)


def exclude_known(
    interactions: Iterable[DatedInteraction], stored: Iterable[DatedInteraction]
) -> list[DatedInteraction]:
    known = set(stored)
    return [each for each in interactions if each not in known]


def drop_surplus(new: Sequence[DatedInteraction], stored: Sequence[DatedInteraction]) -> list[DatedInteraction]:
    """Return those new interactions that fit into the history limit beside the stored ones, oldest first."""
    surplus = max(0, len(stored) + len(new) - settings.MEMORY_MAX_CONTEXT_LENGTH)
    newest = sorted([*stored, *new], key=lambda each: each.timestamp)[surplus:]
    return exclude_known(newest, stored)


def lock_session(
    namespace_id: int, session_id: str, ttl_hours: float | None
) -> tuple[list[DatedInteraction], str, str]:
    """Lock the session's row, which is inserted when there is none.

    Return its interactions, oldest first; the time before which interactions have expired; and the current time. An
    expired session is deleted first.
    """
    SessionMemory.objects.outdated().filter(namespace_id=namespace_id, session_id=session_id).delete()
    history.fetch_rows(LOCK_SESSION_SQL, namespace_id, session_id, id=uuid7(), own=ttl_hours)
    [(stored, oldest, now)] = history.fetch_rows(SELECT_LOCKED_SQL, namespace_id, session_id)
    return [DatedInteraction(**decrypt(each)) for each in json.loads(stored)], oldest, now


def fill_timestamps(
    interactions: Sequence[ImportedInteraction], stored: Iterable[DatedInteraction], now: str
) -> Iterator[DatedInteraction]:
    """Give each interaction without a time that of its predecessor.

    Those at the beginning get a time just before the first known one or, when no time is known, `now`. A stored
    interaction with the same text lends its time, so that a repeated import finds it again. What a full session has
    dropped therefore stays the oldest and is not added a second time.
    """
    known = {(each.query, each.answer): each.timestamp for each in stored}
    times = [each.timestamp or known.get((each.query, each.answer)) for each in interactions]
    first = next(filter(None, times), None) or min(known.values(), default=None)
    latest = subtract_microsecond(first) if first else now
    for each, time in zip(interactions, times, strict=True):
        latest = time or latest
        yield DatedInteraction(latest, each.query, each.answer)


def subtract_microsecond(timestamp: str) -> str:
    return (datetime.fromisoformat(timestamp) - timedelta(microseconds=1)).isoformat(timespec="microseconds")
