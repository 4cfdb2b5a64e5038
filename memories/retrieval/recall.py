"""Recall: a search weighed by what the memories are worth now, which counts as a use of what it returns."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from memories.retrieval.relevance import relevance_sql
from memories.search.query import Ranking

# The score of the search, times weights of which each is 1 at best: an exact answer stands before all that is merely
# new. So relevance (0.05 to 1) counts by its square root; CRITICAL counts 1.7 times as much as TRIVIAL; nobody's
# confidence costs more than half; a hundred and fifty uses bring a tenth.
RECALL_RANKING = Ranking(
    score="""hits.score * sqrt(worth.relevance)
    * (0.5 + 0.1 * memory.importance)
    * (1 + memory.confidence) / 2
    * (0.9 + 0.02 * least(ln(1 + memory.access_count), 5))::float8""",
    joins=f"CROSS JOIN LATERAL (SELECT {relevance_sql('memory')} AS relevance OFFSET 0) worth",
    columns={"relevance": "worth.relevance"},
    candidates=2,
)
# In the order of their ids, so that two who use the same memories wait for each other and never lock each other out.
# No indexed column changes, nor what makes a vector due. A crash may lose the count, and nobody waits for the disk.
COUNT_ACCESS_SQL = """
UPDATE memories_memory AS memory
SET access_count = access_count + 1, last_accessed_at = statement_timestamp()
FROM (SELECT id FROM memories_memory WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE) AS used,
     (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried
WHERE memory.id = used.id
"""


def count_access(memories: Sequence[UUID]) -> None:
    """Count one access on each."""
    if memories:
        with connection.cursor() as cursor:
            cursor.execute(COUNT_ACCESS_SQL, [list(memories)])
