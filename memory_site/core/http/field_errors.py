"""Errors that name the right field: of a validator that sees several fields, and of a misspelt name."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

ITEM_COUNT_MESSAGE = re.compile(r"Value should have (at least|at most) (\d+) items? after validation, not (\d+)")
PLAIN_MESSAGES = {
    "Input should be a valid dictionary or object to extract fields from": "must be a JSON object",
    "Field required": "is required",
}
UNKNOWN_FIELD = "unknown field"
#: How alike two names must be, from 0 to 1. `created_at` and `updated_at` are at 0.7, and not meant for each other.
MIN_NAME_SIMILARITY = 0.75
#: Longer names are no misspelt ones, and comparing them takes time.
MAX_COMPARED_LENGTH = 64
#: A model with more errors is not one with a misspelt name.
MAX_EXPLAINED_ERRORS = 20
CAPITAL_INSIDE_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def field_error(field: str, message: str) -> ValidationError:
    """Return the error that a model's validator raises for one of its fields; a nested field is a dotted path.

    A ValueError would be reported for the whole model.
    """
    error = PydanticCustomError("value_error", "{reason}", {"reason": message})
    location = tuple(field.split("."))
    return ValidationError.from_exception_data("field", [InitErrorDetails(type=error, loc=location, input=None)])


def explain_unknown_fields(error: ValidationError, known: Iterable[str]) -> ValidationError:
    """Return the error of a model with the fields `known`, with a suggestion at each field that the model lacks.

    Names of fields in nested objects are dotted paths.
    """
    if error.error_count() > MAX_EXPLAINED_ERRORS:
        return error
    details = error.errors(include_url=False)
    if not any(map(is_unknown_field, details)):
        return error
    names = list(known)
    return ValidationError.from_exception_data(error.title, [rebuild_error(each, names) for each in details])


def is_unknown_field(details: Any) -> bool:
    return details["type"] == "extra_forbidden" and len(details["loc"]) == 1


def rebuild_error(details: Any, known: Iterable[str]) -> InitErrorDetails:
    """Return one error of a ValidationError for a new one, explained if it is that of an unknown field."""
    message = details["msg"]
    if is_unknown_field(details):
        message = UNKNOWN_FIELD + suggest_name(str(details["loc"][0]), known)
    error = PydanticCustomError(details["type"], "{reason}", {"reason": message})
    return InitErrorDetails(type=error, loc=details["loc"], input=details["input"])


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean `…`?" with the name that is probably meant, or nothing."""
    if len(name) > MAX_COMPARED_LENGTH:
        return ""
    name, names = CAPITAL_INSIDE_WORD.sub("_", name).lower().replace("-", "_"), sorted(known)
    likely = (
        get_close_matches(name, names, 1, MIN_NAME_SIMILARITY)
        or [each for each in names if name in each.split("_") and not is_common(name, each)]
        or [each for each in names if each.endswith(f".{name}") and not is_common(name)]
    )
    return f"; did you mean `{likely[0]}`?" if likely else ""


def is_common(word: str, name: str = "") -> bool:
    """Tell whether a word says nothing about the name that has it, as `id` in `user_id`, unless it comes first."""
    return len(word) <= 2 and name.split("_")[0] != word


def clarify_message(message: str, value: Any = "") -> str:
    """Say "characters" where pydantic says "items" of a text, and in other cases what a client can see.

    `value` is what was refused, where it may be a list.
    """
    if message in PLAIN_MESSAGES:
        return PLAIN_MESSAGES[message]
    found = ITEM_COUNT_MESSAGE.fullmatch(message)
    if found is None:
        return message
    if found[2] == "1" and found[3] == "0":
        return "must not be empty"
    unit = "elements" if isinstance(value, list) else "characters"
    return f"must have {found[1]} {found[2]} {unit}, not {found[3]}"
