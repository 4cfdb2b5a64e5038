"""What a card of the dashboard consists of. Cards hold values; the templates format them at each request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from memory_site.core.admin.charts import Bar, Chart
from memory_site.operations.dashboard.periods import PERIODS, Period


class Scope(NamedTuple):
    """What the figures are about: one namespace, or all (None), and a period for what is drawn over time."""

    namespace_id: int | None = None
    period: Period = PERIODS["30d"]

    @property
    def filters(self) -> dict[str, Any]:
        """The filter of a query, and the parameter of a list's address."""
        return {} if self.namespace_id is None else {"namespace": self.namespace_id}


class Figure(NamedTuple):
    """A number and the address of exactly the rows that it counts, or a text without rows."""

    label: str
    value: int | str
    url: str = ""
    tone: str = ""  # "", "success", "warning" or "danger"


class Line(NamedTuple):
    """A line of a list: a text, the page that it leads to, a remark, a moment shown as its distance from now."""

    text: str
    url: str = ""
    detail: str = ""
    at: datetime | None = None
    tone: str = ""


@dataclass(frozen=True)
class Content:
    """All parts are optional. `empty` stands in place of them when there is nothing to show yet."""

    figures: Sequence[Figure] = ()
    chart: Chart | None = None
    bars: Sequence[Bar] = ()
    lines: Sequence[Line] = ()
    note: str = ""
    empty: str = ""
    at: datetime | None = None  # when it was found, if that was not now


@dataclass(frozen=True)
class Card:
    """A card, the permissions that it needs (words), and the function that reads it with one statement."""

    name: str
    title: str
    permissions: str
    build: Callable[[Scope], Content]
    #: Whether its figures follow the choice of a namespace; the others are about the site.
    is_namespaced: bool = True
    has_period: bool = False
    #: Whether its content is kept for a minute. What costs nothing to read need not be.
    is_kept: bool = True
    width: int = 1

    def get_key(self, scope: Scope) -> tuple:
        """Return what tells its contents apart."""
        return (
            self.name,
            scope.namespace_id if self.is_namespaced else None,
            scope.period.name if self.has_period else "",
        )


class Notice(NamedTuple):
    """Something that needs attention, and what to do about it: a page, or a command."""

    text: str
    action: str
    url: str
    command: str = ""
    tone: str = "warning"  # or "danger"


@dataclass(frozen=True)
class Watch:
    """A source of notices and the permissions that they need."""

    name: str
    permissions: str
    find: Callable[[Scope], Sequence[Notice]]
    is_namespaced: bool = True
    is_kept: bool = True

    def get_key(self, scope: Scope) -> tuple:
        """Return what tells its notices apart."""
        return (f"watch of {self.name}", scope.namespace_id if self.is_namespaced else None)
