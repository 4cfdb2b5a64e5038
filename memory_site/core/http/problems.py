"""Problem documents (RFC 9457): the one format of errors."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from ninja import Schema
from pydantic import Field
from pydantic_core import to_json

PROBLEM_MEDIA_TYPE = "application/problem+json"
#: Of one request: a body may have a hundred thousand wrong fields.
MAX_REPORTED_ERRORS = 100


class Problem(Exception):
    """An error that becomes a problem document. Raised by HTTP code; the domain raises `memory_site.core.errors`."""

    def __init__(self, status: int, detail: str, *, errors: list[dict] | None = None, headers: dict | None = None):
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, headers or {}


def invalid_field(field: str, message: str) -> Problem:
    """Return a 422 that names one field."""
    return Problem(422, "The request is not valid.", errors=[{"field": field, "message": message}])


def problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    return HttpResponse(
        build_problem_document(problem, request.path, getattr(request, "id", "")),
        status=problem.status,
        headers=problem.headers,
        content_type=PROBLEM_MEDIA_TYPE,
    )


def build_problem_document(problem: Problem, path: str, request_id: str) -> bytes:
    document = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": path,
        "request_id": request_id,
    }
    if problem.errors:
        document["errors"] = problem.errors
    return to_json(document, inf_nan_mode="null")


class FieldError(Schema):
    field: str = Field(description="The field's path in the request, such as `filters.tags.0`.")
    message: str = Field(description="What is wrong with its value.")


class ProblemOut(Schema):
    """An RFC 9457 problem document."""

    type: str = Field(
        default="about:blank", description="Always `about:blank`: the status says what kind of problem it is."
    )
    title: str = Field(description="The name of the status.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, in a sentence.")
    instance: str = Field(description="The path of the request.")
    request_id: str = Field(description="The id under which the server's log has the request, as in `X-Request-ID`.")
    errors: list[FieldError] | None = Field(
        default=None, description="The fields that are not valid, at most 100; absent for other problems."
    )
