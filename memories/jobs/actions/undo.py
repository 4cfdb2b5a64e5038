"""Take back what another job changed, from the versions that the history kept of it."""

from typing import Any
from uuid import UUID

from memories.history.models import MemoryVersion
from memories.history.restore import take_back
from memories.jobs.actions.base import Action, Batch, Failure, Outcome
from memories.jobs.models import Job
from memories.tasks import embedding_trigger


class Undo(Action):
    name, title, icon = "undo", "Take back", "undo"
    can_undo = False
    in_api = in_menu = False

    def describe(self, parameters: Any, memories: str) -> str:
        return f"Take back what a job did to {memories}"

    def lock_next(self, job: Job, size: int) -> list[UUID]:
        """Return the next memories of which the other job left a version. Restoring them locks them."""
        rows = MemoryVersion.objects.filter(namespace=job.namespace_id, job_id=job.undo_of)
        rows = rows.filter(memory_id__gt=job.cursor) if job.cursor else rows
        return list(rows.order_by("memory_id").values_list("memory_id", flat=True).distinct()[:size])

    def apply(self, batch: Batch) -> Outcome:
        from memories.jobs.actions import get_action  # noqa: PLC0415  (which lists this action)

        other = Job.objects.get(namespace=batch.namespace_id, pk=batch.job.undo_of)  # type: ignore[misc]  # an undo has one
        action = get_action(other.action)
        kept = action.find_kept(other, batch.ids)
        ids = sorted(set(batch.ids) - {failure.id for failure in kept})
        restored = take_back(batch.namespace_id, other.pk, ids)
        action.clear_after_undo(other, [*restored.ids, *restored.there])
        left = [Failure(pk, reason) for pk, reason in restored.left.items()]
        return Outcome(len(restored.ids) + len(restored.there), kept + left)

    def follow_up(self, job: Job) -> None:
        embedding_trigger.notify()  # deleted memories come back without their vectors
