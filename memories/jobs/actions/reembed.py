"""Embed memories again with the namespace's model. Until then searches use the vectors that are there."""

from typing import Any

from django.db import connection

from memories.jobs.actions.base import Action, Batch, Outcome

ENQUEUE_SQL = """
INSERT INTO memories_dueembedding (memory_id, namespace_id, due_at, characters)
SELECT id, namespace_id, now(), char_length(content) FROM memories_memory
WHERE namespace_id = %(namespace)s AND id = ANY (%(ids)s) AND state = 'active'
ON CONFLICT (namespace_id, memory_id) DO UPDATE SET due_at = excluded.due_at, attempts = 0, error = ''
"""


class Reembed(Action):
    name, title, icon = "reembed", "Embed again", "change_circle"
    can_undo = False

    def describe(self, parameters: Any, memories: str) -> str:
        return f"Embed {memories} again"

    def apply(self, batch: Batch) -> Outcome:
        with connection.cursor() as cursor:
            cursor.execute(ENQUEUE_SQL, {"namespace": batch.namespace_id, "ids": list(batch.ids)})
        return Outcome(len(batch.ids))
