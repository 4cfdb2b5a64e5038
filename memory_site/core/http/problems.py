"""Problem documents (RFC 9457): the one format of errors."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from ninja import Schema
from pydantic_core import to_json


class Problem(Exception):
    """An error that becomes a problem document. Raised by HTTP code; the domain raises `memory_site.core.errors`."""

    def __init__(self, status: int, detail: str, *, errors: list[dict] | None = None, headers: dict | None = None):
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, headers or {}


def invalid_field(field: str, message: str) -> Problem:
    """Return a 422 that names one field."""
    return Problem(422, "The request is not valid.", errors=[{"field": field, "message": message}])


def problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    document = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.path,
        "request_id": getattr(request, "id", ""),
    }
    if problem.errors:
        document["errors"] = problem.errors
    return HttpResponse(
        to_json(document, inf_nan_mode="null"),
        status=problem.status,
        headers=problem.headers,
        content_type="application/problem+json",
    )


class FieldError(Schema):
    field: str
    message: str


class ProblemOut(Schema):
    """An RFC 9457 problem document."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldError] | None = None
