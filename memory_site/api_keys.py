"""The middleware that refuses every request below /api/v1 without an API key, whatever else is wrong with it."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import cached_property
from ninja.errors import AuthenticationError

from memory_site.api import handle_exception
from sessions_app.auth import any_access
from sessions_app.key_usage import key_usage

PREFIX = "/api/v1/"


class ApiKeyMiddleware:
    """Answer 401 before anything that would tell a stranger about addresses, methods, parameters or fields."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(PREFIX) and request.path_info not in self.public:
            try:
                authenticate(request)
            except Exception as error:  # also a database that is away: a problem document like the API's
                return handle_exception(request, error)
        return self.get_response(request)

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
