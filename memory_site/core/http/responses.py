"""What operations answer with."""

from typing import Any

from django.http import HttpResponse
from pydantic_core import to_json

from memory_site.core.http.problems import ProblemOut

#: The problems every operation may answer with.
PROBLEMS = dict.fromkeys((400, 401, 403, 404, 409, 413, 415, 422, 503), ProblemOut)


def json_response(body: Any, status: int = 200) -> HttpResponse:
    """JSON bytes, written once: the schema documents them, the tests check them against it."""
    return HttpResponse(to_json(body), status=status, content_type="application/json")
