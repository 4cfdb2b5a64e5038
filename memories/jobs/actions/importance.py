"""Set the importance of memories."""

from django.db.models.functions import Now
from pydantic import Field

from memories.jobs.actions.base import Action, Batch, Outcome
from memories.memory_types import Importance
from memory_site.core.http.fields import InputSchema


class ImportanceParameters(InputSchema):
    importance: int = Field(ge=1, le=5)


class SetImportance(Action):
    name, title, icon = "set_importance", "Set importance", "priority_high"
    parameters = ImportanceParameters

    def describe(self, parameters: ImportanceParameters, memories: str) -> str:
        return f"Give {memories} the importance {parameters.importance} {Importance(parameters.importance).name}"

    def apply(self, batch: Batch) -> Outcome:
        wanted = batch.parameters.importance
        batch.memories().exclude(importance=wanted).update(importance=wanted, updated_at=Now())
        return Outcome(len(batch.ids))
