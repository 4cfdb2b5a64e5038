"""Refusals in sentences that a model can act on, with the names of a tool's arguments."""

import logging
from collections.abc import Iterable

from pydantic import ValidationError

from memory_site.api import INTERNAL_ERROR
from memory_site.core.http.field_errors import clarify_message
from memory_site.mcp_server.operations import Refused

log = logging.getLogger(__name__)
#: Arguments by the names that the API has for them.
ARGUMENTS = {
    "user_id": "user",
    "repo_id": "project",
    "session_id": "session",
    "memory_types": "types",
    "created_after": "since",
    "created_before": "until",
    "top_k": "limit",
    "ttl_seconds": "ttl_days",
    "memory_id": "id",
}
NO_MEMORY = "There is no memory with this id; take ids from recall or list_memories."
MAX_NAMED = 10


class ToolFault(Exception):
    """A call that cannot be answered, and why, in a sentence."""


def to_fault(error: Exception, name: str) -> ToolFault:
    """Return what the caller of a tool, prompt or resource reads of an error. An unforeseen one is logged."""
    if isinstance(error, ToolFault):
        return error
    if isinstance(error, Refused):
        return ToolFault(explain_refusal(error))
    if isinstance(error, ValidationError):
        return ToolFault(explain_validation(error))
    log.error("%s failed", name, exc_info=error)
    return ToolFault(INTERNAL_ERROR.detail)


def explain_refusal(refused: Refused) -> str:
    """Return what an operation's problem means for the caller of a tool."""
    if refused.errors:
        return explain_fields((each["field"], each["message"]) for each in refused.errors)
    if refused.status == 503:
        seconds = f"in {refused.retry_after} seconds" if refused.retry_after else "later"
        return f"{refused.detail} Nothing was changed; try again {seconds}."
    return refused.detail


def explain_validation(error: ValidationError) -> str:
    """Return which arguments a tool cannot take, and why. Never their values."""
    return explain_fields(
        (".".join(map(str, each["loc"])), clarify_message(each["msg"].removeprefix("Value error, "), each["input"]))
        for each in error.errors(include_url=False)
    )


def explain_fields(errors: Iterable[tuple[str, str]]) -> str:
    lines = [f"{rename_field(name)}: {message}" for name, message in errors]
    more = [f"and {len(lines) - MAX_NAMED} more"] if len(lines) > MAX_NAMED else []
    return "The arguments are not valid. " + "; ".join([*lines[:MAX_NAMED], *more]) + "."


def rename_field(path: str) -> str:
    """Return an API field's path as the argument that it was made of."""
    first, *rest = path.removeprefix("filters.").removeprefix("memories.").split(".")
    return ".".join([ARGUMENTS.get(first, first), *rest])
