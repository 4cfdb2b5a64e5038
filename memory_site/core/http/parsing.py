"""Checks of every API request before its operation runs."""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.datastructures import MultiValueDict
from ninja.params.models import BodyModel, QueryModel
from ninja.parser import Parser

from memory_site.core.http.field_errors import suggest_name
from memory_site.core.http.problems import MAX_REPORTED_ERRORS, Problem, problem_response

BODY_TOO_LARGE = f"The body may take at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20} MB."


class StrictParser(Parser):
    """JSON by RFC 8259: no NaN, no Infinity, no duplicate keys, UTF-8 only."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            return read_json(request.body.decode())
        except RecursionError:
            raise Problem(400, "The body is nested too deeply.") from None
        except ValueError as error:  # bad UTF-8, bad JSON, a number too long to read, or raised below
            raise Problem(400, f"The body is not JSON we can read: {error}") from None

    def parse_querydict(self, data: MultiValueDict, list_fields: list[str], request: HttpRequest) -> dict[str, Any]:
        """Make a list of a repeated parameter, which is an error where one value is expected."""
        return {name: values if len(values) > 1 else values[0] for name, values in data.lists()}


def read_json(text: str) -> Any:
    """Parse JSON. Raises ValueError, or RecursionError if it is nested too deeply."""
    return json.loads(text, object_pairs_hook=reject_duplicate_keys, parse_constant=reject_constant)


def reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object names the same key twice")
    return result


def reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def validate_request(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate an operation's run: refuse unknown query parameters and bodies of the wrong type or size.

    django-ninja passes the operation's bound method; the parameter models of the operation are its `models`.
    """
    models = run.__self__.models  # type: ignore[attr-defined]  # run is a bound method
    known = {name for model in models if issubclass(model, QueryModel) for name in model.__ninja_flatten_map__}
    bodies = [model for model in models if issubclass(model, BodyModel)]
    needs_body = any(field.is_required() for model in bodies for field in model.model_fields.values())

    @wraps(run)
    def checked(request: HttpRequest, **path: Any) -> HttpResponse:
        checked_body = needs_body or (bodies and has_body(request))
        problem = find_unknown_parameters(request, known) or (check_body(request) if checked_body else None)
        return problem_response(request, problem) if problem else run(request, **path)

    return checked


def find_unknown_parameters(request: HttpRequest, known: set[str]) -> Problem | None:
    """Return a problem that names the unknown parameters, at most MAX_REPORTED_ERRORS, each with the one meant."""
    unknown = sorted(request.GET.keys() - known)[:MAX_REPORTED_ERRORS]
    message = "is not a parameter of this operation"
    errors = [{"field": name, "message": message + suggest_name(name, known)} for name in unknown]
    return Problem(422, "The request is not valid.", errors=errors) if errors else None


def has_body(request: HttpRequest) -> bool:
    return request.META.get("CONTENT_LENGTH") not in (None, "", "0") or "Transfer-Encoding" in request.headers


def check_body(request: HttpRequest) -> Problem | None:
    if request.content_type != "application/json":
        return Problem(415, "The body must be application/json.")
    if request.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        return Problem(415, "The body must not be compressed.", headers={"Accept-Encoding": "identity"})
    if "chunked" in request.headers.get("Transfer-Encoding", "") and not request.META.get("CONTENT_LENGTH"):
        return Problem(411, "The body needs a Content-Length.")
    if re.fullmatch(r"[0-9]{1,18}", length := request.META.get("CONTENT_LENGTH") or "0") is None:
        return Problem(400, "Content-Length is not a number.")
    return Problem(413, BODY_TOO_LARGE) if int(length) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE else None
