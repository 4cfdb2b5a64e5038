"""Parameters of an action, from a request, a form or the row of a job."""

from typing import Any

from pydantic import ValidationError

from memories.jobs.actions.base import Action
from memory_site.core.errors import InvalidField
from memory_site.core.http.field_errors import clarify_message
from memory_site.core.http.fields import InputSchema


def parse_parameters(action: Action, given: dict[str, Any]) -> InputSchema:
    """Return the action's parameters. Raises InvalidField, which names the one that is wrong."""
    try:
        return action.parameters.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(["parameters", *map(str, first["loc"])])
        raise InvalidField(field, clarify_message(first["msg"].removeprefix("Value error, "))) from None
