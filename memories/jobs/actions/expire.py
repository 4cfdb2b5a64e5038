"""Set when memories expire: at a time, or never."""

from typing import Any

from django.db.models.functions import Now

from memories.jobs.actions.base import Action, Batch, Outcome
from memory_site.core.errors import InvalidField
from memory_site.core.http.fields import MAX_DATETIME, InputSchema, Timestamp, check_future


class ExpireParameters(InputSchema):
    #: None: never.
    expires_at: Timestamp | None


class Expire(Action):
    name, title, icon = "expire", "Set expiry", "event_busy"
    parameters = ExpireParameters

    def describe(self, parameters: ExpireParameters, memories: str) -> str:
        when = parameters.expires_at
        return f"Let {memories} " + ("never expire" if when is None else f"expire at {when:%Y-%m-%d %H:%M} UTC")

    def check(self, namespace_id: int, parameters: ExpireParameters) -> None:
        try:
            check_future(parameters.expires_at or MAX_DATETIME)
        except ValueError as error:
            raise InvalidField("parameters.expires_at", str(error)) from None

    def apply(self, batch: Batch) -> Outcome:
        changes: dict[str, Any] = {"expires_at": batch.parameters.expires_at}
        batch.memories().exclude(**changes).update(**changes, updated_at=Now())
        return Outcome(len(batch.ids))
