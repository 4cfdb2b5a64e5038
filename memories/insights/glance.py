"""What insights come to, for a picture: by type, tenth of quality and project."""

import json
from typing import Any

from django.db import connection

from memories.insights.quality_levels import LEVEL_RANGES, MIN_HIGH_TENTHS, MIN_MIDDLE_TENTHS, TENTHS

MAX_DASHBOARD_PROJECTS = 10
TENTH_BOUNDARIES = [n / TENTHS for n in range(1, TENTHS)]
COUNT_BY_LEVEL_SQL = f"""count(*) FILTER (WHERE tenth < {MIN_MIDDLE_TENTHS}) AS low,
    count(*) FILTER (WHERE tenth >= {MIN_MIDDLE_TENTHS} AND tenth < {MIN_HIGH_TENTHS}) AS middle,
    count(*) FILTER (WHERE tenth >= {MIN_HIGH_TENTHS}) AS high"""
# One pass over the insights, which are few beside the memories; JSON is written where the rows are.
SELECT_DASHBOARD_STATISTICS_SQL = f"""
WITH mine AS MATERIALIZED (
    SELECT insight.insight_type, insight.projects, insight.quality, insight.usage_count, memory.confidence,
           width_bucket(insight.quality, %(edges)s::float8[]) AS tenth
    FROM insights_insight insight JOIN memories_memory memory ON memory.id = insight.memory_id
    WHERE (%(namespace)s::bigint IS NULL OR insight.namespace_id = %(namespace)s)
        AND (memory.expires_at IS NULL OR memory.expires_at > statement_timestamp())
),
types AS (SELECT insight_type AS name, {COUNT_BY_LEVEL_SQL} FROM mine GROUP BY 1),
tenths AS (SELECT tenth, count(*) AS n FROM mine GROUP BY 1),
named AS (SELECT project AS name, {COUNT_BY_LEVEL_SQL} FROM mine, unnest(projects) AS project GROUP BY 1),
top AS (SELECT * FROM named ORDER BY low + middle + high DESC, name LIMIT {MAX_DASHBOARD_PROJECTS})
SELECT json_build_object(
    'total', count(*), 'quality', avg(quality), 'confidence', avg(confidence),
    'uses', coalesce(sum(usage_count), 0), 'unused', count(*) FILTER (WHERE usage_count = 0),
    'nameless', count(*) FILTER (WHERE projects = '{{}}'), 'projects', (SELECT count(*) FROM named),
    'types', (SELECT coalesce(json_agg(types ORDER BY low + middle + high DESC, name), '[]') FROM types),
    'tenths', (SELECT coalesce(json_object_agg(tenth, n), '{{}}') FROM tenths),
    'top', (SELECT coalesce(json_agg(top ORDER BY low + middle + high DESC, name), '[]') FROM top)
)::text FROM mine
"""


def fetch_dashboard_statistics(namespace_id: int | None) -> dict[str, Any]:
    """Of one namespace or of all, in one statement: {total, quality, confidence (averages or None), uses, unused,
    nameless (of no project), projects (how many), types and top (rows of name, low, middle, high; the ten projects with
    the most), tenths (by "0" to "9")}."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_DASHBOARD_STATISTICS_SQL, {"namespace": namespace_id, "edges": TENTH_BOUNDARIES})
        return json.loads(cursor.fetchone()[0])


def map_counts_by_level(row: dict[str, Any]) -> dict[str, int]:
    return {str(level): row[level] for level in LEVEL_RANGES}
