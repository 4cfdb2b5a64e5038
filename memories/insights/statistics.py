"""Statistics of insights, for the API and the console: totals, averages, and counts by type, quality and project."""

import json
from typing import Any

from django.db import connection

from memories.insights.quality_levels import MIN_HIGH_TENTHS, MIN_MIDDLE_TENTHS, TENTHS
from memories.states import alive_sql

MAX_TOP_PROJECTS = 10
TENTH_BOUNDARIES = [n / TENTHS for n in range(1, TENTHS)]
COUNT_BY_LEVEL_SQL = f"""count(*) AS total, count(*) FILTER (WHERE tenth < {MIN_MIDDLE_TENTHS}) AS low,
    count(*) FILTER (WHERE tenth >= {MIN_MIDDLE_TENTHS} AND tenth < {MIN_HIGH_TENTHS}) AS middle,
    count(*) FILTER (WHERE tenth >= {MIN_HIGH_TENTHS}) AS high"""


def build_statistics_sql(condition: str) -> str:
    """Return a statement that reads the insights once, which are few beside the memories, and returns JSON."""
    return f"""
WITH live AS MATERIALIZED (
    SELECT insight.insight_type, insight.collection, insight.projects, insight.quality, insight.usage_count,
           memory.confidence, width_bucket(insight.quality, %(boundaries)s::float8[]) AS tenth
    FROM insights_insight insight JOIN memories_memory memory
        ON memory.namespace_id = insight.namespace_id AND memory.id = insight.memory_id
    WHERE {condition} AND {alive_sql("memory")}
),
types AS (SELECT insight_type AS name, {COUNT_BY_LEVEL_SQL} FROM live GROUP BY 1),
collections AS (SELECT collection AS name, count(*) AS total FROM live GROUP BY 1),
tenths AS (SELECT tenth, count(*) AS total FROM live GROUP BY 1),
projects AS (SELECT project AS name, {COUNT_BY_LEVEL_SQL} FROM live, unnest(projects) AS project GROUP BY 1),
top AS (SELECT * FROM projects ORDER BY total DESC, name LIMIT {MAX_TOP_PROJECTS})
SELECT json_build_object(
    'total', count(*), 'average_confidence', avg(confidence), 'average_quality', avg(quality),
    'total_usage', coalesce(sum(usage_count), 0), 'unused', count(*) FILTER (WHERE usage_count = 0),
    'without_project', count(*) FILTER (WHERE projects = '{{}}'), 'projects', (SELECT count(*) FROM projects),
    'by_type', (SELECT coalesce(json_agg(types ORDER BY total DESC, name), '[]') FROM types),
    'by_collection', (SELECT coalesce(json_object_agg(name, total ORDER BY total DESC, name), '{{}}') FROM collections),
    'by_tenth', (SELECT coalesce(json_object_agg(tenth, total), '{{}}') FROM tenths),
    'top_projects', (SELECT coalesce(json_agg(top ORDER BY total DESC, name), '[]') FROM top)
)::text FROM live
"""


SELECT_STATISTICS_SQL = build_statistics_sql("true")
SELECT_NAMESPACE_STATISTICS_SQL = build_statistics_sql("insight.namespace_id = %(namespace)s")


def fetch_detailed_statistics(namespace_id: int | None) -> dict[str, Any]:
    """Return the statistics of one namespace or of all, in one statement:

    total, average_confidence, average_quality (None without insights), total_usage, unused, without_project;
    projects: how many there are;
    by_type, top_projects: rows of {name, total, low, middle, high} (the last three by quality level), most first;
    by_collection: {collection: total}; by_tenth: {"0" to "9": total}, without the tenths that have none.
    """
    statement = SELECT_STATISTICS_SQL if namespace_id is None else SELECT_NAMESPACE_STATISTICS_SQL
    parameters: dict[str, Any] = {"boundaries": TENTH_BOUNDARIES}
    if namespace_id is not None:
        parameters["namespace"] = namespace_id
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return json.loads(cursor.fetchone()[0])


def fetch_statistics(namespace_id: int) -> dict[str, Any]:
    """Return StatisticsOut of one namespace, in one statement."""
    detailed = fetch_detailed_statistics(namespace_id)
    return {
        **{name: detailed[name] for name in ("total", "average_confidence", "average_quality", "total_usage")},
        "by_type": {row["name"]: row["total"] for row in detailed["by_type"]},
        "by_collection": detailed["by_collection"],
        "top_projects": [{"project": row["name"], "insights": row["total"]} for row in detailed["top_projects"]],
    }
