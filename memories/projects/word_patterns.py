"""What is going on across projects: how active each one was, and which words several have in common."""

from django.db import connection

from memories.insights.parser import MARKER
from memories.schemas import format_timestamp_sql

# Bounds of what is read, so that the answer comes in time however much there is: words are looked for in the newest
# memories of the most active projects, in so many bytes of each.
MAX_ACTIVE_PROJECTS, MAX_MEMORIES_PER_PROJECT, MAX_CHARACTERS_PER_MEMORY, MAX_BYTES_PER_PROJECT = (
    100,
    500,
    5_000,
    100_000,
)
MAX_COMMON_WORDS, MAX_PROJECTS_PER_WORD = 10, 10
# A memory belongs to its repository, an insight to its projects. Whatever letters a language has, a word is made of
# them alone; one that PostgreSQL's English stemmer leaves nothing of is a stop word.
SELECT_PROJECT_PATTERNS_SQL = f"""
WITH told AS MATERIALIZED (
    SELECT memory.id, memory.created_at, whose.project, insight.memory_id IS NOT NULL AS is_insight
    FROM memories_memory memory LEFT JOIN insights_insight insight ON insight.memory_id = memory.id
    CROSS JOIN LATERAL (SELECT DISTINCT unnest(insight.projects || memory.repo_id) AS project) whose
    WHERE memory.namespace_id = %(namespace)s AND whose.project IS NOT NULL
      AND (memory.expires_at IS NULL OR memory.expires_at > statement_timestamp())
      AND memory.created_at > statement_timestamp() - %(days)s * interval '1 day'
),
active AS MATERIALIZED (
    SELECT project, count(*) AS memories, count(*) FILTER (WHERE is_insight) AS insights, max(created_at) AS last_at
    FROM told GROUP BY project ORDER BY count(*) DESC, max(created_at) DESC, project LIMIT {MAX_ACTIVE_PROJECTS}
),
newest AS (
    SELECT project, regexp_replace(left(content, {MAX_CHARACTERS_PER_MEMORY}), '{MARKER}', '', 'g') AS text,
           sum(least(octet_length(content), {MAX_CHARACTERS_PER_MEMORY})) OVER (PARTITION BY project ORDER BY turn) AS read
    FROM (
        SELECT id, project, row_number() OVER (PARTITION BY project ORDER BY created_at DESC, id DESC) AS turn
        FROM told WHERE project IN (SELECT project FROM active)
    ) latest JOIN memories_memory USING (id) WHERE turn <= {MAX_MEMORIES_PER_PROJECT}
),
words AS MATERIALIZED (
    SELECT word, project, count(*) AS occurrences
    FROM newest CROSS JOIN LATERAL regexp_split_to_table(lower(text), '[^[:alpha:]]+') AS word
    WHERE read <= {MAX_BYTES_PER_PROJECT} AND length(word) BETWEEN 5 AND 50
    GROUP BY word, project
),
-- OFFSET 0: asking the stemmer of every single word would take most of the time.
shared AS (
    SELECT word, count(*) AS projects, sum(occurrences)::bigint AS occurrences
    FROM words GROUP BY word HAVING count(*) > 1 OFFSET 0
),
foremost AS MATERIALIZED (
    SELECT * FROM shared WHERE ts_lexize('english_stem', word) <> '{{}}'
    ORDER BY projects DESC, occurrences DESC, word LIMIT {MAX_COMMON_WORDS}
),
common AS (
    SELECT word, foremost.projects, foremost.occurrences,
           (array_agg(project ORDER BY words.occurrences DESC, project))[:{MAX_PROJECTS_PER_WORD}] AS names
    FROM foremost JOIN words USING (word) GROUP BY word, foremost.projects, foremost.occurrences
    ORDER BY foremost.projects DESC, foremost.occurrences DESC, word
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
    """PatternsOut as JSON, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_PROJECT_PATTERNS_SQL, {"namespace": namespace_id, "days": days, "limit": limit})
        return cursor.fetchone()[0]
