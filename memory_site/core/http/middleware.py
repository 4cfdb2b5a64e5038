"""The middleware that gives each request an id and turns every error into a problem document."""

import re
import uuid
from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from memory_site.core.http.problems import Problem, problem_response

REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,128}")
PRESERVED_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")
# HTML pages keep their HTML errors; every other client is a program.
HTML_PATH_PREFIXES = ("/admin/", "/static/")


def to_problem_response(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Turn an error page of Django or a library into a problem document."""
    headers = {name: response[name] for name in PRESERVED_HEADERS if name in response}
    detail = {
        404: "There is nothing here.",
        405: f"{request.method} is not possible here.",
        413: "The body is too large.",
    }.get(response.status_code, HTTPStatus(response.status_code).description or "The request failed.")
    return problem_response(request, Problem(response.status_code, detail, headers=headers))


class RequestMiddleware:
    """Give every request an id and turn errors into problem documents."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        offered = request.headers.get("X-Request-ID", "")
        request_id = offered if REQUEST_ID_PATTERN.fullmatch(offered) else str(uuid.uuid4())
        request.id = request_id  # type: ignore[attr-defined]  # ApiRequest declares it
        response = self.get_response(request)
        if not request.path.startswith(HTML_PATH_PREFIXES):
            if response.status_code >= 400 and not response.get("Content-Type", "").startswith("application/"):
                response = to_problem_response(request, response)
            response.setdefault("Cache-Control", "no-store")
        response["X-Request-ID"] = request_id
        return response
