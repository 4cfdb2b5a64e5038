"""Responses of operations."""

from typing import Any

from django.http import HttpResponse
from pydantic_core import to_json

from memory_site.core.http.json_numbers import mark_floats
from memory_site.core.http.problems import ProblemOut

#: The problems that every operation may return.
PROBLEMS = dict.fromkeys((400, 401, 403, 404, 409, 413, 415, 422, 503), ProblemOut)


def json_response(body: Any, status: int = 200) -> HttpResponse:
    """Serialise without validation: tests check responses against the documented schema."""
    return HttpResponse(mark_floats(to_json(body)), status=status, content_type="application/json")
