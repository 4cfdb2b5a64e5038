"""The middleware of web processes that a newer release has replaced."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from memory_site.core.http.problems import Problem, problem_response
from memory_site.core.releases.watch import release_watch

#: Addresses that are answered all the same: they say what is wrong, or need no database.
OPEN_PREFIXES = ("/health", "/metrics", "/static/")
RETRY_HEADERS = {"Retry-After": "5"}


class ReleaseMiddleware:
    """Answer 503 while the database does not work with this release."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if release_watch.refusal is None or request.path_info.startswith(OPEN_PREFIXES):
            return self.get_response(request)
        return problem_response(request, Problem(503, release_watch.refusal, headers=RETRY_HEADERS))
