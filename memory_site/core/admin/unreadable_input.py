"""Parameters that no page of the console can read are answered with 400."""

from collections.abc import Callable, Iterator

from django.core.paginator import InvalidPage
from django.http import HttpRequest, HttpResponse
from django.views.defaults import bad_request

from memory_site.core.admin.replica_reads import CONSOLE_PREFIX


class UnreadableInputMiddleware:
    """Answers 400 where a page fails and the request has what PostgreSQL or a paginator cannot take.

    Forms refuse such values with a message of their own. Django's autocompletion and the command palette do not.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not request.path.startswith(CONSOLE_PREFIX):
            return None
        if isinstance(error, InvalidPage) or has_bad_page(request) or any("\0" in text for text in iter_texts(request)):
            return bad_request(request, error)
        return None


def has_bad_page(request: HttpRequest) -> bool:
    page = request.GET.get("page", "1")
    return not (page.isascii() and page.isdigit() and len(page) < 10)


def iter_texts(request: HttpRequest) -> Iterator[str]:
    """Yield the path, and the names and values of the request's parameters."""
    yield request.path
    for parameters in (request.GET, request.POST):
        for name, values in parameters.lists():
            yield from (name, *map(str, values))
