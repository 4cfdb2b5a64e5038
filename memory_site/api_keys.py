"""The middleware that refuses requests below /api/v1 and /mcp without an API key, whatever else is wrong with them."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import cached_property
from ninja.errors import AuthenticationError

from memory_site.api import handle_exception
from sessions_app.auth import any_access
from sessions_app.key_usage import key_usage

API_PREFIX, MCP_PATH = "/api/v1/", "/mcp"
#: Clients of the Model Context Protocol ask here for an OAuth server before they send a key: a clean 404 says none.
WELL_KNOWN = "/.well-known/"


class ApiKeyMiddleware:
    """Answer 401 before anything that would tell a stranger about addresses, methods, parameters or fields."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self.needs_key(request.path_info):
            try:
                authenticate(request)
            except Exception as error:  # also a database that is away: a problem document like the API's
                return handle_exception(request, error)
        return self.get_response(request)

    def needs_key(self, path: str) -> bool:
        if path.startswith(API_PREFIX):
            return path not in self.public
        return f"{path}/".startswith(f"{MCP_PATH}/") and WELL_KNOWN not in f"{path}/"

    @cached_property
    def public(self) -> set[str]:
        """Return the addresses of the documentation."""
        return {reverse("api:openapi-json"), reverse("api:openapi-view")}


def authenticate(request: HttpRequest) -> None:
    """Raise AuthenticationError for a request without a valid key. A line of the log names the key of any other."""
    caller = any_access(request)
    if not caller:
        raise AuthenticationError
    key_usage.add(caller.key_id, request.META)
    request.auth = caller  # type: ignore[attr-defined]  # ApiRequest declares it
