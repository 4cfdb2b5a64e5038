"""The middleware that answers HEAD wherever GET works (RFC 9110, 9.3.2): the operation runs, with the same scopes."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from memory_site.api_keys import API_PREFIX


class HeadRequestMiddleware:
    """Run the GET of a HEAD below /api/v1, whose content RequestMiddleware leaves out. A file is not read for it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(API_PREFIX):
            return self.get_response(request)
        asked = request.method
        request.method = "GET" if asked == "HEAD" else asked
        try:
            return allow_head(self.get_response(request))
        finally:
            request.method = asked


def allow_head(response: HttpResponse) -> HttpResponse:
    """Name HEAD among the methods of an address that has a GET."""
    allowed = [name.strip() for name in response.get("Allow", "").split(",")]
    if "GET" in allowed:
        response["Allow"] = ", ".join([*allowed, "HEAD"])
    return response
