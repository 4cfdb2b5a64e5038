"""Give memories to another user, or to none."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from memories.expiry import delete_expired_memories
from memories.jobs.actions.base import CHUNK_REASON, Action, Batch, Outcome, apply_by_halves, leave
from memories.jobs.models import Job
from memory_site.core.http.fields import InputSchema, Label


class UserParameters(InputSchema):
    #: None: of no user.
    user_id: Label | None


class SetUser(Action):
    name, title, icon = "set_user", "Give to a user", "person_edit"
    parameters = UserParameters

    def describe(self, parameters: UserParameters, memories: str) -> str:
        if parameters.user_id is None:
            return f"Take {memories} from their users"
        return f"Give {memories} to the user “{parameters.user_id}”"

    def start(self, job: Job, parameters: Any) -> None:
        delete_expired_memories(job.namespace_id)  # they are invisible, but would be in the way

    def apply(self, batch: Batch) -> Outcome:
        wanted = batch.parameters.user_id
        differs = Q(user_id__isnull=False) if wanted is None else ~Q(user_id=wanted) | Q(user_id=None)
        rows = batch.memories().filter(differs)
        chunks = list(rows.filter(document_id__isnull=False).order_by("pk").values_list("pk", flat=True))
        others = list(rows.filter(document_id=None).order_by("pk").values_list("pk", flat=True))

        def change(ids: Sequence[UUID]) -> None:
            batch.memories(ids).update(user_id=wanted, updated_at=Now())

        same = Outcome(len(batch.ids) - len(chunks) - len(others))
        return same + leave(chunks, CHUNK_REASON) + apply_by_halves(others, change)
