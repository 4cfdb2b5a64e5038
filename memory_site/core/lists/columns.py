"""The columns of a list: those of `list_display` unless a person chose others among these and `optional_columns`."""

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.utils import label_for_field
from django.http import HttpRequest

from memory_site.core.lists.saved import read_saved


def list_known_columns(model_admin: Any) -> list[str]:
    known = [*model_admin.list_display, *model_admin.optional_columns]
    return [name for name in dict.fromkeys(known) if isinstance(name, str)]


def choose_columns(model_admin: Any, request: HttpRequest) -> Sequence[str]:
    """Return the columns that this person sees. The first one, which links to the row's page, always stays."""
    known, chosen = list_known_columns(model_admin), read_saved(model_admin, request).columns
    kept = [name for name in known if name in chosen]
    return [known[0], *(name for name in kept if name != known[0])] if kept else model_admin.list_display


def describe_columns(model_admin: Any, request: HttpRequest) -> list[dict[str, Any]]:
    """Return the columns to choose from: name, label and whether the list has it now."""
    shown = set(choose_columns(model_admin, request))
    return [
        {"name": name, "label": label_for_field(name, model_admin.model, model_admin), "is_shown": name in shown}
        for name in list_known_columns(model_admin)[1:]
    ]
