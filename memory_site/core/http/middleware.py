"""The middleware that gives each request an id, turns errors into problem documents and refuses wrong addresses."""

import re
import time
import uuid
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from memory_site.core.db.actor import describe_requester, described_by
from memory_site.core.http.problems import Problem, problem_response
from memory_site.core.http.request_metrics import HTML_PATH_PREFIXES, count_answer

REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,128}")
#: Their answers have no content, and say nothing of its type and length (RFC 9110, 8.6 and 15.4.5).
STATUSES_WITHOUT_CONTENT = (204, 304)
PRESERVED_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")


def to_problem_response(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Turn an error page of Django or a library into a problem document."""
    headers = {name: response[name] for name in PRESERVED_HEADERS if name in response}
    detail = {
        404: "There is nothing here.",
        405: f"{request.method} is not possible here.",
        413: "The body is too large.",
    }.get(response.status_code, HTTPStatus(response.status_code).description or "The request failed.")
    return problem_response(request, Problem(response.status_code, detail, headers=headers))


def pick_request_id(offered: str) -> str:
    """Return the client's own id of the request, or a new one."""
    return offered if REQUEST_ID_PATTERN.fullmatch(offered) else str(uuid.uuid4())


def leave_out_content(request: HttpRequest, response: HttpResponse) -> None:
    """Leave out what an answer to HEAD must not have, and what one without content must not promise."""
    if response.status_code in STATUSES_WITHOUT_CONTENT:
        del response["Content-Type"], response["Content-Length"]
    elif request.method == "HEAD" and isinstance(response, StreamingHttpResponse):
        response.streaming_content = ()
    elif request.method == "HEAD":
        response.setdefault("Content-Length", str(len(response.content)))
        response.content = b""


class RequestMiddleware:
    """Give every request an id, turn errors into problem documents, and count the answers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        request_id = pick_request_id(request.headers.get("X-Request-ID", ""))
        request.id = request_id  # type: ignore[attr-defined]  # ApiRequest declares it
        with described_by(partial(describe_requester, request)):
            response = self.get_response(request)
        if not request.path.startswith(HTML_PATH_PREFIXES):
            if response.status_code >= 400 and not response.get("Content-Type", "").startswith("application/"):
                response = to_problem_response(request, response)
            response.setdefault("Cache-Control", "no-store")
            leave_out_content(request, response)
        response["X-Request-ID"] = request_id
        count_answer(request, response, started)
        return response


#: Where `keep_raw_path` leaves the path for AddressMiddleware.
RAW_PATH = "memory_site.raw_path"


def keep_raw_path(application: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a WSGI application: Django overwrites the path, with wrong bytes quoted as if the client had done so."""

    def run(environ: dict[str, Any], *arguments: Any) -> Any:
        environ[RAW_PATH] = environ.get("PATH_INFO", "")
        return application(environ, *arguments)

    return run


class AddressMiddleware:
    """Refuse an address that is not UTF-8: with wrong bytes replaced it would mean another object."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        for part, encoded in get_address_bytes(request).items():
            if not is_utf8(encoded):
                return problem_response(request, Problem(400, f"The {part} of the address is not valid UTF-8."))
        return self.get_response(request)


def get_address_bytes(request: HttpRequest) -> dict[str, bytes]:
    """Return path and query as bytes, which WSGI passes as characters of Latin-1; the query is still quoted there."""
    path, query = (request.META.get(name, "").encode("latin-1") for name in (RAW_PATH, "QUERY_STRING"))
    return {"path": path, "query": unquote_to_bytes(query)}


def is_utf8(encoded: bytes) -> bool:
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return False
    return True
