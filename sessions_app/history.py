"""Add to the history of a session and read it, each in one statement.

Adding timestamps, appending, and dropping expired or surplus interactions happen inside PostgreSQL under the row's
lock, so that concurrent callers lose nothing.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection

from memory_site.core.db.ids import uuid7
from memory_site.core.db.retry import retry_on_deadlock
from sessions_app.encryption import Interaction, decrypt, encrypt

SESSION_TABLE = "sessions_app_sessionmemory"
NEW_TTL_SQL = "coalesce(%(own)s::float8, %(ttl_hours)s::float8) * interval '1 hour'"
TTL_SQL = "coalesce({row}.ttl_hours, %(ttl_hours)s::float8) * interval '1 hour'"
STORED_TTL_SQL, SESSION_TTL_SQL = TTL_SQL.format(row="stored"), TTL_SQL.format(row="session")
# The clock is read once, under the row's lock, so that the order of timestamps is the order of arrival. An expired
# session behaves as if deleted, whether or not the clean-up has run: adding to it starts a new, empty one.
ADD_INTERACTIONS_SQL = f"""
INSERT INTO {SESSION_TABLE} AS stored (id, namespace_id, session_id, ttl_hours, history, updated_at)
SELECT %(id)s, %(namespace)s, %(session)s, %(own)s::float8,
       sessions_trim_history(sessions_add_timestamps(%(added)s::jsonb, at), at - {NEW_TTL_SQL}, %(most)s::integer), at
FROM (SELECT clock_timestamp() AS at OFFSET 0) clock
ON CONFLICT (namespace_id, session_id) DO UPDATE SET (history, ttl_hours, created_at, updated_at) = (
    SELECT sessions_trim_history(
               CASE WHEN is_expired THEN '[]' ELSE stored.history END || sessions_add_timestamps(%(added)s::jsonb, at),
               at - CASE WHEN is_expired OR %(own)s::float8 > 0 THEN {NEW_TTL_SQL} ELSE {STORED_TTL_SQL} END,
               %(most)s::integer
           ),
           CASE WHEN is_expired OR %(own)s::float8 > 0 THEN %(own)s::float8 ELSE stored.ttl_hours END,
           CASE WHEN is_expired THEN at ELSE stored.created_at END,
           greatest(stored.updated_at, at)
    FROM (
        SELECT at, stored.updated_at <= at - {STORED_TTL_SQL} AS is_expired
        FROM (SELECT clock_timestamp() AS at OFFSET 0) clock OFFSET 0
    ) state
)
RETURNING jsonb_array_length(history), updated_at - {STORED_TTL_SQL}
"""
# Expired interactions are removed as well as left out; that does not renew the session.
SELECT_CONTEXT_SQL = f"""
WITH live AS (
    SELECT id, history, now() - {SESSION_TTL_SQL} AS oldest FROM {SESSION_TABLE} session
    WHERE namespace_id = %(namespace)s AND session_id = %(session)s AND updated_at > now() - {SESSION_TTL_SQL}
),
pruned AS (
    UPDATE {SESSION_TABLE} session
    SET history = sessions_trim_history(session.history, live.oldest, %(most)s::integer)
    FROM live
    WHERE session.id = live.id
      AND session.history -> 0 ->> 'timestamp' COLLATE "C" <= sessions_format_timestamp(live.oldest)
)
SELECT sessions_trim_history(history, oldest, least(%(limit)s::integer, %(most)s::integer)) FROM live
"""


class Added(NamedTuple):
    """What an addition leaves: the length of the history, and the time up to which interactions have expired."""

    history_length: int
    oldest: datetime


@retry_on_deadlock
def add(
    namespace_id: int, session_id: str, interactions: Sequence[Mapping[str, Any]], ttl_hours: float | None = None
) -> Added:
    """Append interactions ({query, answer, timestamp?}, times in UTC as ISO 8601 with microseconds and offset).

    `ttl_hours`, when given, becomes the session's own time to live.
    """
    added = json.dumps([encrypt(interaction) for interaction in interactions])
    parameters = {"id": uuid7(), "added": added, "own": ttl_hours}
    [row] = fetch_rows(ADD_INTERACTIONS_SQL, namespace_id, session_id, **parameters)
    return Added(*row)


def fetch_context(namespace_id: int, session_id: str, limit: int) -> list[Interaction]:
    """Return the newest interactions, newest first; none for an unknown session. Raise HistoryUnreadable."""
    rows = fetch_rows(SELECT_CONTEXT_SQL, namespace_id, session_id, limit=limit)
    return [decrypt(stored) for (history,) in rows for stored in reversed(json.loads(history))]


def fetch_rows(sql: str, namespace_id: int, session_id: str, **more: Any) -> list[tuple[Any, ...]]:
    """Run a statement on one session and return its rows.

    The parameters namespace, session, ttl_hours (default time to live) and most (history limit) are set besides the
    given ones.
    """
    parameters: dict[str, Any] = {
        "namespace": namespace_id,
        "session": session_id,
        "ttl_hours": settings.MEMORY_TTL_HOURS,
        "most": settings.MEMORY_MAX_CONTEXT_LENGTH,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters | more)
        return cursor.fetchall()
