"""The history of a session: adding to it and reading it, each in one statement.

Everything that two callers could do to one history at once happens inside PostgreSQL, under the row's lock: stamping,
appending, dropping what is too old or too much.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import connection

from memory_site.deadlocks import surviving_deadlocks
from memory_site.ids import uuid7
from sessions_app.sealing import Interaction, opened, sealed

TABLE = "sessions_app_sessionmemory"
DEFAULT_TTL = "%(ttl_hours)s::float8 * interval '1 hour'"
TTL = "coalesce({row}.ttl_hours, %(ttl_hours)s::float8) * interval '1 hour'"
OF_KEPT, OF_SESSION = TTL.format(row="kept"), TTL.format(row="session")
IS_OVER = f"kept.updated_at <= clock_timestamp() - {OF_KEPT}"
# The clock is read under the row's lock, so that the order of times is the order of arrival. A session that is over is
# there for nobody: whether or not it was cleaned up already, it begins anew.
ADD = f"""
INSERT INTO {TABLE} AS kept (id, namespace_id, session_id, history, updated_at)
VALUES (
    %(id)s, %(namespace)s, %(session)s,
    sessions_kept(
        sessions_stamped(%(added)s::jsonb, clock_timestamp()), clock_timestamp() - {DEFAULT_TTL}, %(most)s::integer
    ),
    clock_timestamp()
)
ON CONFLICT (namespace_id, session_id) DO UPDATE SET
    history = sessions_kept(
        CASE WHEN {IS_OVER} THEN '[]' ELSE kept.history END || sessions_stamped(%(added)s::jsonb, clock_timestamp()),
        clock_timestamp() - CASE WHEN {IS_OVER} THEN {DEFAULT_TTL} ELSE {OF_KEPT} END,
        %(most)s::integer
    ),
    ttl_hours = CASE WHEN {IS_OVER} THEN NULL ELSE kept.ttl_hours END,
    created_at = CASE WHEN {IS_OVER} THEN clock_timestamp() ELSE kept.created_at END,
    updated_at = greatest(kept.updated_at, clock_timestamp())
RETURNING jsonb_array_length(history)
"""
# What is too old is not only left out but removed, and the session is not renewed by that.
CONTEXT = f"""
WITH kept AS (
    SELECT id, history, now() - {OF_SESSION} AS oldest FROM {TABLE} session
    WHERE namespace_id = %(namespace)s AND session_id = %(session)s AND updated_at > now() - {OF_SESSION}
),
pruned AS (
    UPDATE {TABLE} session SET history = sessions_kept(session.history, kept.oldest, %(most)s::integer) FROM kept
    WHERE session.id = kept.id AND session.history -> 0 ->> 'timestamp' COLLATE "C" <= sessions_stamp(kept.oldest)
)
SELECT sessions_kept(history, oldest, least(%(limit)s::integer, %(most)s::integer)) FROM kept
"""


@surviving_deadlocks
def add(namespace_id: int, session_id: str, interactions: Sequence[Mapping[str, Any]]) -> int:
    """Append interactions ({query, answer, timestamp?}, times in UTC as ISO 8601 with microseconds and offset).

    Returns how many the session then holds.
    """
    added = json.dumps([sealed(interaction) for interaction in interactions])
    return ask(ADD, namespace_id, session_id, id=uuid7(), added=added)[0]


def context(namespace_id: int, session_id: str, limit: int) -> list[Interaction]:
    """The newest interactions, newest first; none for an unknown session. Raises HistoryUnreadable."""
    row = ask(CONTEXT, namespace_id, session_id, limit=limit)
    return [opened(stored) for stored in reversed(json.loads(row[0]))] if row else []


def ask(sql: str, namespace_id: int, session_id: str, **more: Any) -> tuple | None:
    parameters = {
        "namespace": namespace_id,
        "session": session_id,
        "ttl_hours": settings.MEMORY_TTL_HOURS,
        "most": settings.MEMORY_MAX_CONTEXT_LENGTH,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters | more)
        return cursor.fetchone()
