"""What served a task that is finished counts for less."""

from django.db import connection

from memories.retrieval.relevance import MIN_RELEVANCE
from memories.types import MemoryType

MAX_AGE_HOURS = 24 * 366 * 200
#: What a task leaves behind that is of little use to anything else.
TASK_MEMORY_TYPES = (MemoryType.USER_SELECTION, MemoryType.SEARCH_RESULT, MemoryType.TEMPORARY_STATE)
TASK_DECAY_FACTOR = 0.5
# In the order of their ids, so that nobody is locked out. What lies below the least relevance is left as it is.
DECAY_TASK_MEMORIES_SQL = f"""
UPDATE memories_memory AS memory SET base_relevance = base_relevance * {TASK_DECAY_FACTOR}
FROM (
    SELECT id FROM memories_memory
    WHERE namespace_id = %(namespace)s AND user_id = %(user)s AND memory_type = ANY(%(types)s)
      AND (%(session)s::text IS NULL OR session_id = %(session)s)
      AND (%(workflow)s::text IS NULL OR workflow_id = %(workflow)s)
      AND (expires_at IS NULL OR expires_at > statement_timestamp()) AND base_relevance > {MIN_RELEVANCE}
    ORDER BY id FOR NO KEY UPDATE
) AS served
WHERE memory.id = served.id
"""


def finish_task(namespace_id: int, user_id: str, session_id: str | None, workflow_id: str | None) -> int:
    """Halve the base relevance of what served the task; of how many memories."""
    task = {"session": session_id, "workflow": workflow_id, "types": [str(kind) for kind in TASK_MEMORY_TYPES]}
    with connection.cursor() as cursor:
        cursor.execute(DECAY_TASK_MEMORIES_SQL, {"namespace": namespace_id, "user": user_id, **task})
        return cursor.rowcount
