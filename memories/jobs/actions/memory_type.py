"""Change the type of memories."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from memories.expiry import delete_expired_memories
from memories.insights.capture import backfill_insights
from memories.jobs.actions.base import CHUNK_REASON, Action, Batch, Outcome, apply_by_halves, leave
from memories.jobs.models import Job
from memories.search.filters import MemoryTypeIn
from memory_site.core.http.fields import InputSchema


class TypeParameters(InputSchema):
    memory_type: MemoryTypeIn


class SetType(Action):
    name, title, icon = "set_type", "Set type", "category"
    parameters = TypeParameters

    def describe(self, parameters: TypeParameters, memories: str) -> str:
        return f"Give {memories} the type {parameters.memory_type.value.replace('_', ' ')}"

    def start(self, job: Job, parameters: Any) -> None:
        delete_expired_memories(job.namespace_id)

    def apply(self, batch: Batch) -> Outcome:
        wanted = batch.parameters.memory_type
        rows = batch.memories().exclude(memory_type=wanted)
        chunks = list(rows.filter(document_id__isnull=False).order_by("pk").values_list("pk", flat=True))
        others = list(rows.filter(document_id=None).order_by("pk").values_list("pk", flat=True))

        def change(ids: Sequence[UUID]) -> None:
            batch.memories(ids).update(memory_type=wanted, updated_at=Now())

        same = Outcome(len(batch.ids) - len(chunks) - len(others))
        return same + leave(chunks, CHUNK_REASON) + apply_by_halves(others, change)

    def follow_up(self, job: Job) -> None:
        backfill_insights(job.namespace_id)
