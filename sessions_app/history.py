"""The history of a session: adding to it and reading it, each in one statement.

Everything that two callers could do to one history at once happens inside PostgreSQL, under the row's lock: stamping,
appending, dropping what is too old or too much.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import connection

from memory_site.core.db.ids import uuid7
from memory_site.core.db.retry import retry_on_deadlock
from sessions_app.encryption import Interaction, decrypt, encrypt

SESSION_TABLE = "sessions_app_sessionmemory"
NEW_TTL_SQL = "coalesce(%(own)s::float8, %(ttl_hours)s::float8) * interval '1 hour'"
TTL_SQL = "coalesce({row}.ttl_hours, %(ttl_hours)s::float8) * interval '1 hour'"
STORED_TTL_SQL, SESSION_TTL_SQL = TTL_SQL.format(row="kept"), TTL_SQL.format(row="session")
# The clock is read once, and under the row's lock, so that the order of times is the order of arrival. A session that
# is over is there for nobody: whether or not it was cleaned up already, it begins anew.
ADD_INTERACTIONS_SQL = f"""
INSERT INTO {SESSION_TABLE} AS kept (id, namespace_id, session_id, ttl_hours, history, updated_at)
SELECT %(id)s, %(namespace)s, %(session)s, %(own)s::float8,
       sessions_trim_history(sessions_add_timestamps(%(added)s::jsonb, at), at - {NEW_TTL_SQL}, %(most)s::integer), at
FROM (SELECT clock_timestamp() AS at OFFSET 0) clock
ON CONFLICT (namespace_id, session_id) DO UPDATE SET (history, ttl_hours, created_at, updated_at) = (
    SELECT sessions_trim_history(
               CASE WHEN is_over THEN '[]' ELSE kept.history END || sessions_add_timestamps(%(added)s::jsonb, at),
               at - CASE WHEN is_over OR %(own)s::float8 > 0 THEN {NEW_TTL_SQL} ELSE {STORED_TTL_SQL} END,
               %(most)s::integer
           ),
           CASE WHEN is_over OR %(own)s::float8 > 0 THEN %(own)s::float8 ELSE kept.ttl_hours END,
           CASE WHEN is_over THEN at ELSE kept.created_at END,
           greatest(kept.updated_at, at)
    FROM (
        SELECT at, kept.updated_at <= at - {STORED_TTL_SQL} AS is_over
        FROM (SELECT clock_timestamp() AS at OFFSET 0) clock OFFSET 0
    ) moment
)
RETURNING jsonb_array_length(history)
"""
# What is too old is not only left out but removed, and the session is not renewed by that.
SELECT_CONTEXT_SQL = f"""
WITH kept AS (
    SELECT id, history, now() - {SESSION_TTL_SQL} AS oldest FROM {SESSION_TABLE} session
    WHERE namespace_id = %(namespace)s AND session_id = %(session)s AND updated_at > now() - {SESSION_TTL_SQL}
),
pruned AS (
    UPDATE {SESSION_TABLE} session
    SET history = sessions_trim_history(session.history, kept.oldest, %(most)s::integer)
    FROM kept
    WHERE session.id = kept.id
      AND session.history -> 0 ->> 'timestamp' COLLATE "C" <= sessions_format_timestamp(kept.oldest)
)
SELECT sessions_trim_history(history, oldest, least(%(limit)s::integer, %(most)s::integer)) FROM kept
"""


@retry_on_deadlock
def add(
    namespace_id: int, session_id: str, interactions: Sequence[Mapping[str, Any]], ttl_hours: float | None = None
) -> int:
    """Append interactions ({query, answer, timestamp?}, times in UTC as ISO 8601 with microseconds and offset).

    `ttl_hours` becomes the session's own time to live when it is given. Returns how many the session then holds.
    """
    added = json.dumps([encrypt(interaction) for interaction in interactions])
    return fetch_row(ADD_INTERACTIONS_SQL, namespace_id, session_id, id=uuid7(), added=added, own=ttl_hours)[0]


def fetch_context(namespace_id: int, session_id: str, limit: int) -> list[Interaction]:
    """The newest interactions, newest first; none for an unknown session. Raises HistoryUnreadable."""
    row = fetch_row(SELECT_CONTEXT_SQL, namespace_id, session_id, limit=limit)
    return [decrypt(stored) for stored in reversed(json.loads(row[0]))] if row else []


def fetch_row(sql: str, namespace_id: int, session_id: str, **more: Any) -> tuple | None:
    parameters = {
        "namespace": namespace_id,
        "session": session_id,
        "ttl_hours": settings.MEMORY_TTL_HOURS,
        "most": settings.MEMORY_MAX_CONTEXT_LENGTH,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters | more)
        return cursor.fetchone()
