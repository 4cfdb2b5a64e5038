"""What a namespace's insights come to."""

import json
from typing import Any

from django.db import connection

# One pass over the insights, which are few beside the memories; JSON is written where the rows are.
SELECT_INSIGHT_STATISTICS_SQL = """
WITH mine AS MATERIALIZED (
    SELECT insight.insight_type, insight.collection, insight.projects, insight.quality, insight.usage_count,
           memory.confidence
    FROM insights_insight insight JOIN memories_memory memory ON memory.id = insight.memory_id
    WHERE insight.namespace_id = %s AND (memory.expires_at IS NULL OR memory.expires_at > statement_timestamp())
),
types AS (SELECT insight_type AS name, count(*) AS n FROM mine GROUP BY 1),
collections AS (SELECT collection AS name, count(*) AS n FROM mine GROUP BY 1),
top AS (
    SELECT project, count(*) AS insights FROM mine, unnest(projects) AS project
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10
)
SELECT json_build_object(
    'total', count(*), 'average_confidence', avg(confidence), 'average_quality', avg(quality),
    'total_usage', coalesce(sum(usage_count), 0),
    'by_type', (SELECT coalesce(json_object_agg(name, n ORDER BY n DESC, name), '{}') FROM types),
    'by_collection', (SELECT coalesce(json_object_agg(name, n ORDER BY n DESC, name), '{}') FROM collections),
    'top_projects', (SELECT coalesce(json_agg(top ORDER BY insights DESC, project), '[]') FROM top)
)::text FROM mine
"""


def fetch_statistics(namespace_id: int) -> dict[str, Any]:
    """StatisticsOut, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_INSIGHT_STATISTICS_SQL, [namespace_id])
        return json.loads(cursor.fetchone()[0])
