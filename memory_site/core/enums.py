"""Tables that are keyed by the members of an enum."""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

M = TypeVar("M", bound=Enum)
V = TypeVar("V")


def complete_table(enum: type[M], table: Mapping[M, V]) -> dict[M, V]:
    """Return the table. Raises ImproperlyConfigured, at import, when a member of the enum has no value in it."""
    if missing := [member.name for member in enum if member not in table]:
        raise ImproperlyConfigured(f"A table of {enum.__name__} lacks {', '.join(missing)}.")
    return dict(table)
