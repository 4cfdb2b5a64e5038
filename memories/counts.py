"""Counts of memories for the console, which read indexes alone: a million in about 0.1 s.

An index does not know what has expired or is hidden, so all rows are counted, and those that no list shows are
subtracted: they have indexes of their own, and are few.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from django.db import connection

from memories.memory_types import MemoryType

#: Rows that `MemoryQuerySet.alive` leaves out.
HIDDEN_SQL = "expires_at <= statement_timestamp() OR NOT state = 'active'"
COUNT_SQL = """
SELECT {columns}, sum(rows)::bigint FROM (
    SELECT {columns}, count(*) AS rows FROM memories_memory {steps} WHERE {scope} GROUP BY {columns}
    UNION ALL
    SELECT {columns}, -count(*) FROM memories_memory {steps} WHERE {scope} AND ({hidden}) GROUP BY {columns}
) counted
GROUP BY {columns} HAVING sum(rows) > 0 ORDER BY sum(rows) DESC, {columns}
"""
# Every type is named, so that the index by type, which ends with the time, is read from the first step on only.
PERIOD_SQL = "memory_type = ANY(%(types)s) AND created_at >= %(since)s"
STEP_SQL = "CROSS JOIN LATERAL (SELECT date_bin(%(step)s, created_at, %(since)s) AS start) step"
NAMESPACE_SQL = "namespace_id = %(namespace)s"
EVERY_NAMESPACE_SQL = "namespace_id = ANY(ARRAY(SELECT id FROM sessions_app_namespace))"
# Expired and hidden memories are in the sums of a user's totals until they are deleted.
TOP_USERS_SQL = """
WITH summed AS (
    SELECT namespace_id, user_id, sum(memories)::bigint AS rows, count(*) OVER () AS users
    FROM graph_usertotal WHERE {scope} GROUP BY namespace_id, user_id HAVING sum(memories) > 0
    ORDER BY rows DESC, user_id, namespace_id LIMIT %(limit)s
)
SELECT namespace_id, name, user_id, users, rows - (
    SELECT count(*) FROM memories_memory memory
    WHERE memory.namespace_id = summed.namespace_id AND memory.user_id = summed.user_id AND ({hidden})
) AS memories
FROM summed JOIN sessions_app_namespace space ON space.id = namespace_id
ORDER BY memories DESC, user_id, namespace_id
"""

COUNT_USERS_SQL = """
WITH summed AS (
    SELECT sum(memories)::bigint AS rows FROM graph_usertotal WHERE {scope}
    GROUP BY namespace_id, user_id HAVING sum(memories) > 0
),
hidden AS (
    SELECT count(*) AS rows, count(user_id) AS of_users FROM memories_memory WHERE {scope} AND ({hidden})
)
SELECT (SELECT count(*) FROM summed), (SELECT coalesce(sum(rows), 0)::bigint FROM summed) - of_users,
       (SELECT count(*) FROM memories_memory WHERE {scope}) - rows
FROM hidden
"""
# From the queue, which is short as a rule.
COUNT_UNEMBEDDED_SQL = """
SELECT memory.namespace_id, user_id, count(*)
FROM memories_dueembedding due
JOIN memories_memory memory ON memory.namespace_id = due.namespace_id AND memory.id = due.memory_id
WHERE (due.namespace_id, user_id) IN (SELECT unnest(%(namespaces)s::bigint[]), unnest(%(users)s::text[]))
    AND NOT coalesce({hidden}, false)
GROUP BY memory.namespace_id, user_id
"""


class TopUser(NamedTuple):
    """A user with many memories; `users` is how many users the scope has."""

    namespace_id: int
    namespace: str
    user_id: str
    users: int
    memories: int


class StepCount(NamedTuple):
    """How many memories of a type were created in a step of time."""

    start: datetime
    memory_type: str
    memories: int


def count_memories_by(column: Literal["memory_type", "source_system"], namespace_id: int | None) -> dict[str, int]:
    """Return the numbers of memories by the value of a column, largest first; None counts every namespace."""
    return dict(fetch(COUNT_SQL, columns=column, steps="", scope=get_scope_sql(namespace_id), namespace=namespace_id))


def count_memories_over_time(namespace_id: int | None, since: datetime, step: timedelta) -> list[StepCount]:
    """Return the numbers of memories by step of time and type, of those created at `since` or later."""
    scope = f"{get_scope_sql(namespace_id, EVERY_NAMESPACE_SQL)} AND {PERIOD_SQL}"
    values: dict[str, Any] = {"namespace": namespace_id, "since": since, "step": step, "types": list(MemoryType)}
    return [
        StepCount(*row) for row in fetch(COUNT_SQL, columns="start, memory_type", steps=STEP_SQL, scope=scope, **values)
    ]


def list_top_users(namespace_id: int | None, limit: int) -> list[TopUser]:
    """Return the users with the most memories, of one namespace or of all."""
    scope = get_scope_sql(namespace_id)
    return [TopUser(*row) for row in fetch(TOP_USERS_SQL, scope=scope, namespace=namespace_id, limit=limit)]


def get_scope_sql(namespace_id: int | None, every: str = "true") -> str:
    return every if namespace_id is None else NAMESPACE_SQL


def fetch(statement: str, *, scope: str, columns: str = "", steps: str = "", **values: Any) -> Sequence[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement.format(columns=columns, steps=steps, scope=scope, hidden=HIDDEN_SQL), values)
        return cursor.fetchall()


class UserTotals(NamedTuple):
    """How many users have memories, how many memories name one, and how many there are in all."""

    users: int
    of_users: int
    memories: int

    @property
    def of_nobody(self) -> int:
        return self.memories - self.of_users


def count_users(namespace_id: int | None) -> UserTotals:
    """Return the totals over all users, of one namespace or of all."""
    [row] = fetch(COUNT_USERS_SQL, scope=get_scope_sql(namespace_id), namespace=namespace_id)
    return UserTotals(*row)


def count_user_over_time(namespace_id: int, user_id: str, since: datetime, step: timedelta) -> dict[datetime, int]:
    """Return the numbers of a user's memories by step of time, of those created at `since` or later."""
    scope = f"{NAMESPACE_SQL} AND user_id = %(user)s AND created_at >= %(since)s"
    values: dict[str, Any] = {"namespace": namespace_id, "user": user_id, "since": since, "step": step}
    return dict(fetch(COUNT_SQL, columns="start", steps=STEP_SQL, scope=scope, **values))


def count_unembedded(users: Collection[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """Return how many memories of each of these users (namespace, user id) wait for a vector, or are refused one."""
    values: dict[str, Any] = {"namespaces": [space for space, _ in users], "users": [user for _, user in users]}
    rows = fetch(COUNT_UNEMBEDDED_SQL, scope="", **values)
    return {(space, user): waiting for space, user, waiting in rows}
