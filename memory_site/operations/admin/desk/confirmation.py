"""A deletion of the console: counted first, confirmed by a typed word, and refused when the count has changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from memory_site.core.admin.formatting import format_number


@dataclass(frozen=True)
class Plan:
    """What would be deleted: rows by name. `word` is what has to be typed."""

    counts: Mapping[str, int]
    word: str

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def context(self) -> dict[str, Any]:
        return {
            "counts": [(name, format_number(number)) for name, number in self.counts.items()],
            "total": self.total,
            "total_shown": format_number(self.total),
            "word": self.word,
        }


def require(request: HttpRequest, permission: str) -> None:
    """Raise PermissionDenied without the permission."""
    if not request.user.has_perm(permission):
        raise PermissionDenied


def is_confirmed(request: HttpRequest, plan: Plan) -> bool:
    """Return whether the form was sent with the typed word and the number of rows that match now. Tell why not."""
    if request.method != "POST":
        return False
    if request.POST.get("word") != plan.word:
        messages.error(request, "Nothing was deleted: it was not typed exactly as shown.")
        return False
    if request.POST.get("total") != str(plan.total):
        messages.error(request, f"Nothing was deleted: {format_number(plan.total)} rows match now. Look again.")
        return False
    return True


def name_actor(request: HttpRequest) -> str:
    return f"console:{request.user.get_username()}"
