"""Find patterns across projects: the activity of each, and the words that several have in common."""

from django.db import connection

from memories.insights.parser import MARKER
from memories.schemas import format_timestamp_sql
from memories.states import alive_sql

# Limits of what is read, which bound the time however much is stored: words are counted in the newest memories of the
# most active projects.
MAX_ACTIVE_PROJECTS, MAX_MEMORIES_PER_PROJECT = 100, 500
MAX_CHARACTERS_PER_MEMORY, MAX_BYTES_PER_PROJECT = 5_000, 100_000
MAX_COMMON_WORDS, MAX_PROJECTS_PER_WORD = 10, 10
# A memory belongs to its repository, an insight also to its projects. A word consists of letters of any language; one
# that PostgreSQL's English stemmer reduces to nothing is a stop word.
SELECT_PROJECT_PATTERNS_SQL = f"""
WITH recent AS MATERIALIZED (
    SELECT memory.id, memory.created_at, owner.project, insight.memory_id IS NOT NULL AS is_insight
    FROM memories_memory memory
    LEFT JOIN insights_insight insight ON insight.namespace_id = memory.namespace_id AND insight.memory_id = memory.id
    CROSS JOIN LATERAL (SELECT DISTINCT unnest(insight.projects || memory.repo_id) AS project) owner
    WHERE memory.namespace_id = %(namespace)s AND owner.project IS NOT NULL
      AND {alive_sql("memory")}
      AND memory.created_at > statement_timestamp() - %(days)s * interval '1 day'
),
active AS MATERIALIZED (
    SELECT project, count(*) AS memories, count(*) FILTER (WHERE is_insight) AS insights, max(created_at) AS last_at
    FROM recent GROUP BY project ORDER BY count(*) DESC, max(created_at) DESC, project LIMIT {MAX_ACTIVE_PROJECTS}
),
newest AS (
    SELECT project, regexp_replace(left(content, {MAX_CHARACTERS_PER_MEMORY}), '{MARKER}', '', 'g') AS text,
           sum(least(octet_length(content), {MAX_CHARACTERS_PER_MEMORY}))
               OVER (PARTITION BY project ORDER BY recency) AS bytes_so_far
    FROM (
        SELECT id, project, row_number() OVER (PARTITION BY project ORDER BY created_at DESC, id DESC) AS recency
        FROM recent WHERE project IN (SELECT project FROM active)
    ) latest JOIN memories_memory memory ON memory.namespace_id = %(namespace)s AND memory.id = latest.id
    WHERE recency <= {MAX_MEMORIES_PER_PROJECT}
),
words AS MATERIALIZED (
    SELECT word, project, count(*) AS occurrences
    FROM newest CROSS JOIN LATERAL regexp_split_to_table(lower(text), '[^[:alpha:]]+') AS word
    WHERE bytes_so_far <= {MAX_BYTES_PER_PROJECT} AND length(word) BETWEEN 5 AND 50
    GROUP BY word, project
),
-- OFFSET 0: calling the stemmer for words of one project too would take most of the time.
shared AS (
    SELECT word, count(*) AS projects, sum(occurrences)::bigint AS occurrences
    FROM words GROUP BY word HAVING count(*) > 1 OFFSET 0
),
top AS MATERIALIZED (
    SELECT * FROM shared WHERE ts_lexize('english_stem', word) <> '{{}}'
    ORDER BY projects DESC, occurrences DESC, word LIMIT {MAX_COMMON_WORDS}
),
common AS (
    SELECT word, top.projects, top.occurrences,
           (array_agg(project ORDER BY words.occurrences DESC, project))[:{MAX_PROJECTS_PER_WORD}] AS names
    FROM top JOIN words USING (word) GROUP BY word, top.projects, top.occurrences
    ORDER BY top.projects DESC, top.occurrences DESC, word
),
listed AS (
    SELECT project, memories, insights, {format_timestamp_sql("last_at")} AS last_at
    FROM active ORDER BY memories DESC, active.last_at DESC, project LIMIT %(limit)s
)
SELECT json_build_object(
    'activity', (SELECT coalesce(json_agg(listed), '[]') FROM listed),
    'common', (SELECT coalesce(json_agg(common), '[]') FROM common)
)::text
"""


def fetch_project_patterns(namespace_id: int, days: int, limit: int) -> str:
    """Return PatternsOut as JSON, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_PROJECT_PATTERNS_SQL, {"namespace": namespace_id, "days": days, "limit": limit})
        return cursor.fetchone()[0]
