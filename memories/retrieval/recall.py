"""Recall: a search weighted by the present relevance of memories, which counts an access on each result."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from memories.retrieval.relevance import relevance_sql
from memories.search.query import Ranking

# The score of the search times weights that are 1 at best, so that an exact answer ranks before merely new memories:
# relevance (0.05 to 1) counts by its square root, CRITICAL 1.7 times as much as TRIVIAL, no confidence less than half,
# and 150 accesses add a tenth.
RECALL_FACTORS_SQL = {
    "relevance": "sqrt(present.relevance)",
    "importance": "(0.5 + 0.1 * memory.importance)",
    "confidence": "(1 + memory.confidence) / 2",
    "use": "(0.9 + 0.02 * least(ln(1 + memory.access_count), 5))::float8",
}
RECALL_RANKING = Ranking(
    score=" * ".join(["hits.score", *RECALL_FACTORS_SQL.values()]),
    joins=f"CROSS JOIN LATERAL (SELECT {relevance_sql('memory')} AS relevance OFFSET 0) present",
    columns={"relevance": "present.relevance"},
    candidates=2,
)
# The rows are locked in the order of their ids, so that concurrent recalls of the same memories do not deadlock. No
# indexed column changes, and no trigger makes a vector due. The commit does not wait for the disk: a crash may lose
# counts.
COUNT_ACCESS_SQL = """
UPDATE memories_memory AS memory
SET access_count = access_count + 1, last_accessed_at = statement_timestamp()
FROM (
    SELECT id FROM memories_memory WHERE namespace_id = %(namespace)s AND id = ANY(%(memories)s)
    ORDER BY id FOR NO KEY UPDATE
) AS accessed, (SELECT set_config('synchronous_commit', 'off', true)) AS asynchronous
WHERE memory.namespace_id = %(namespace)s AND memory.id = accessed.id
"""


def count_access(namespace_id: int, memories: Sequence[UUID]) -> None:
    """Count one access on each memory. One statement."""
    if memories:
        with connection.cursor() as cursor:
            cursor.execute(COUNT_ACCESS_SQL, {"namespace": namespace_id, "memories": list(memories)})
