"""Totals over the unexpired sessions, computed by PostgreSQL in one statement."""

import json
from typing import Any

from django.conf import settings
from django.db import connection

from sessions_app.history import SESSION_TABLE, SESSION_TTL_SQL

MAX_BUSIEST_SESSIONS = 10
ANALYTICS_SQL = f"""
WITH live AS MATERIALIZED (
    SELECT namespace_id, session_id, updated_at,
           sessions_trim_history(history, now() - {SESSION_TTL_SQL}, %(most)s::integer) AS history
    FROM {SESSION_TABLE} session
    WHERE updated_at > now() - {SESSION_TTL_SQL}
        AND (%(namespace)s::bigint IS NULL OR namespace_id = %(namespace)s::bigint)
),
counted AS (SELECT namespace_id, session_id, updated_at, jsonb_array_length(history) AS length FROM live),
busiest AS (SELECT * FROM counted ORDER BY length DESC, updated_at DESC, session_id LIMIT %(busiest)s),
daily AS (
    SELECT left(interaction ->> 'timestamp', 10) AS day, count(*) AS interactions
    FROM live, jsonb_array_elements(history) AS interaction
    GROUP BY day ORDER BY day DESC LIMIT %(days)s
),
hourly AS (
    SELECT left(interaction ->> 'timestamp', 13) AS hour, count(*) AS interactions
    FROM live, jsonb_array_elements(history) AS interaction
    GROUP BY hour ORDER BY hour DESC LIMIT %(hours)s
)
SELECT json_build_object(
    'total_sessions', count(*),
    'total_interactions', coalesce(sum(length), 0),
    'active_last_hour', count(*) FILTER (WHERE updated_at > now() - interval '1 hour'),
    'average_length', round(coalesce(avg(length), 0), 2)::float8,
    'busiest', (
        SELECT coalesce(json_agg(json_build_object(
            'namespace_id', namespace_id, 'session_id', session_id, 'history_length', length, 'last_updated', updated_at
        ) ORDER BY length DESC, updated_at DESC, session_id), '[]') FROM busiest
    ),
    'interactions_per_day', (
        SELECT coalesce(json_agg(json_build_object('day', day, 'interactions', interactions) ORDER BY day), '[]')
        FROM daily
    ),
    'interactions_per_hour', (
        SELECT coalesce(json_agg(json_build_object('hour', hour, 'interactions', interactions) ORDER BY hour), '[]')
        FROM hourly
    )
)::text FROM counted
"""


def compute_analytics(namespace_id: int | None, days: int = 30, hours: int = 0) -> dict[str, Any]:
    """Return totals over the unexpired sessions of one namespace or, for the console, of all (`None`).

    Keys: total_sessions, total_interactions, active_last_hour, average_length; busiest: the ten longest histories
    ({namespace_id, session_id, history_length, last_updated}); interactions_per_day: the last `days` days that have any
    ({day, interactions}), oldest first, in UTC; interactions_per_hour: the same of the last `hours` hours that have any
    ({hour: "2026-01-31T14"}).
    """
    parameters = {
        "namespace": namespace_id,
        "days": days,
        "hours": hours,
        "busiest": MAX_BUSIEST_SESSIONS,
        "ttl_hours": settings.MEMORY_TTL_HOURS,
        "most": settings.MEMORY_MAX_CONTEXT_LENGTH,
    }
    with connection.cursor() as cursor:
        cursor.execute(ANALYTICS_SQL, parameters)
        return json.loads(cursor.fetchone()[0])
