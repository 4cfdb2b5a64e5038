"""Lists that follow what is going on."""

from typing import Any

from django.http import HttpRequest

from memory_site.core.admin.base import CappedChangeList

#: Draws a list of this kind again; it stands before the list.
POLL_TEMPLATE = "admin/poll.html"


class PollingChangeList(CappedChangeList):
    """A list that is drawn again every two seconds while one of its rows is open."""

    is_polling = False

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = self.complete(list(self.result_list))
        self.is_polling = any(self.is_open(row) for row in self.result_list)

    def complete(self, rows: list[Any]) -> list[Any]:
        """Return the page's rows, with what the list shows besides their columns."""
        return rows

    def is_open(self, row: Any) -> bool:
        """Return whether a row may change by itself."""
        raise NotImplementedError
