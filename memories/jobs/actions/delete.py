"""Delete memories. The trash keeps them for a while."""

from typing import Any

from memories.jobs.actions.base import Action, Batch, Outcome
from memories.models import MemoryQuerySet

CHUNKS_ARE_READ_AGAIN = (
    "{:,} of them are chunks of documents: the next ingestion of their repository reads those again."
)


class Delete(Action):
    name, title, icon = "delete", "Delete", "delete"
    permission = "memories.delete_memory"
    is_destructive = True

    def describe(self, parameters: Any, memories: str) -> str:
        return f"Delete {memories}"

    def warn(self, namespace_id: int, memories: MemoryQuerySet) -> list[str]:
        chunks = memories.filter(document_id__isnull=False).count()
        return [CHUNKS_ARE_READ_AGAIN.format(chunks)] if chunks else []

    def apply(self, batch: Batch) -> Outcome:
        batch.memories().delete()
        return Outcome(len(batch.ids))
