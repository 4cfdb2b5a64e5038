"""Calls of the API's operations in the same process: its scopes, checks, limits and errors hold for agents too."""

from functools import cache
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, QueryDict
from django.urls import resolve, reverse
from ninja.constants import NOT_SET
from pydantic_core import PydanticSerializationError, from_json, to_json

from sessions_app.auth import ApiRequest

#: What an operation hears of the request that led to it.
PASSED_ON = (
    *("HTTP_AUTHORIZATION", "HTTP_X_CONSISTENCY", "HTTP_X_CONSISTENCY_TOKEN", "HTTP_HOST", "REMOTE_ADDR"),
    *("SERVER_NAME", "SERVER_PORT", "HTTP_X_FORWARDED_FOR"),
)
TOO_MANY_PARAMETERS = "A list has more elements than the limit of a thousand: give fewer."
NOT_UNICODE = "The arguments hold text that is not Unicode."


class Refused(Exception):
    """An operation's problem document."""

    def __init__(self, status: int, detail: str, errors: list[dict[str, str]] | None = None, retry_after: str = ""):
        super().__init__(detail)
        self.status, self.detail, self.errors, self.retry_after = status, detail, errors or [], retry_after


class Operations:
    """The API as one request's caller sees it."""

    def __init__(self, request: ApiRequest) -> None:
        self._request, self._posts = request, 0

    def call(
        self,
        method: str,
        name: str,
        body: Any = NOT_SET,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        **path: Any,
    ) -> Any:
        """Run the operation `name` and return its JSON, None if there is none. Raises Refused.

        `query`: parameters; None is left out, a list is repeated. `path`: the variable parts of the address.
        """
        request = self._build_request(method, query or {}, headers or {}, body)
        response = find_view(name, tuple(path))(request, **path)
        content: Any = from_json(response.content) if response.content else None
        if response.status_code >= 400:
            retry_after = response.get("Retry-After", "")
            raise Refused(response.status_code, content["detail"], content.get("errors"), retry_after)
        return content

    def _build_request(self, method: str, query: dict[str, Any], headers: dict[str, str], body: Any) -> HttpRequest:
        """Return a request to an operation, with the id, the caller and the headers of the one that led to it."""
        text = urlencode([(name, each) for name, value in query.items() for each in list_values(value)])
        request: Any = HttpRequest()
        request.id, request.auth = self._request.id, self._request.auth
        request.method, request.path, request.path_info = method, self._request.path, self._request.path_info
        request.META = {name: value for name in PASSED_ON if (value := self._request.META.get(name)) is not None}
        request.META |= {
            "REQUEST_METHOD": method,
            "QUERY_STRING": text,
            **headers,
            **self._name_idempotency_key(method),
        }
        request.GET = read_query(text)
        request._body = b"" if body is NOT_SET else encode(body)
        request.content_type = request.META["CONTENT_TYPE"] = "application/json"
        request.META["CONTENT_LENGTH"] = str(len(request._body))
        return request

    def _name_idempotency_key(self, method: str) -> dict[str, str]:
        """Return the header for a POST. The second and later ones of a request have keys of their own."""
        key = self._request.META.get("HTTP_IDEMPOTENCY_KEY")
        if key is None or method != "POST":
            return {}
        self._posts += 1
        return {"HTTP_IDEMPOTENCY_KEY": key if self._posts == 1 else f"{key}:{self._posts}"}


@cache
def find_view(name: str, parts: tuple[str, ...]) -> Any:
    """Return the API's view that has the operation, by its name in the OpenAPI document."""
    return resolve(reverse(f"api:{name}", kwargs=dict.fromkeys(parts, "0"))).func


def list_values(value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [str(each).lower() if isinstance(each, bool) else each for each in values]


def read_query(text: str) -> QueryDict:
    """Return the parameters. Raises Refused for more than an address may have."""
    try:
        return QueryDict(text)
    except TooManyFieldsSent:
        raise Refused(422, TOO_MANY_PARAMETERS) from None


def encode(body: Any) -> bytes:
    """Return the JSON of a body. Raises Refused for text that JSON cannot hold."""
    try:
        return to_json(body)
    except (PydanticSerializationError, UnicodeError):
        raise Refused(422, NOT_UNICODE) from None
