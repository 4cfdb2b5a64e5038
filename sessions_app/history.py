"""Add to the history of a session and read it, each in one statement that calls one function of the database.

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
TTL_SQL = "coalesce({row}.ttl_hours, %(ttl_hours)s::float8) * interval '1 hour'"
STORED_TTL_SQL, SESSION_TTL_SQL = TTL_SQL.format(row="stored"), TTL_SQL.format(row="session")
# The functions are in migration 0008_locking_functions.
ADD_INTERACTIONS_SQL = """
SELECT * FROM sessions_add_interactions(
    %(namespace)s, %(session)s, %(id)s, %(added)s::jsonb, %(own)s::float8, %(ttl_hours)s::float8, %(most)s::integer
)
"""
SELECT_CONTEXT_SQL = """
SELECT sessions_fetch_context(
    %(namespace)s, %(session)s, %(ttl_hours)s::float8, %(most)s::integer, %(limit)s::integer
)
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
    [(history,)] = fetch_rows(SELECT_CONTEXT_SQL, namespace_id, session_id, limit=limit)
    return [] if history is None else [decrypt(stored) for stored in reversed(json.loads(history))]


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
