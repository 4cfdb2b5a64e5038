"""The API: every app's router, and the table that maps errors to statuses."""

import logging
from typing import Any, cast

from django.core.exceptions import RequestDataTooBig
from django.db import DataError, IntegrityError, InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja.errors import AuthenticationError, HttpError, ValidationError
from psycopg.errors import ForeignKeyViolation, UniqueViolation

from ingestion.api.documents import router as knowledge
from ingestion.api.ingestions import router as ingestions
from ingestion.api.performance import router as performance
from ingestion.api.repositories import router as repositories
from ingestion.api.workflows import router as workflows
from memories.api.by_key import router as by_key
from memories.api.labels import router as labels
from memories.api.lifetimes import router as lifetimes
from memories.api.memories import DUPLICATE_MEMORY_DETAIL, RELATED_MEMORY_DETAIL
from memories.api.memories import router as memories
from memories.api.messages import router as messages
from memories.api.states import router as states
from memories.api.values import router as values
from memories.conflicts import explain_duplicate
from memories.embeddings import EmbedderUnavailable, TextRefused
from memories.graph.api.analysis import router as graphs
from memories.graph.api.relationships import router as relationships
from memories.history.api import router as history
from memories.insights.api import router as insights
from memories.jobs.api import router as jobs
from memories.knowledge.api.clusters import router as clusters
from memories.knowledge.api.context import router as context
from memories.knowledge.api.patterns import router as patterns
from memories.knowledge.api.preferences import router as preferences
from memories.knowledge.api.retention import router as forgetting_outdated
from memories.projects.api.projects import router as projects
from memories.projects.api.unified_search import router as unified
from memories.retrieval.api.recall import router as recall
from memories.retrieval.api.task_decay import router as forgetting
from memories.tool_results.api import router as tool_results
from memories.users.api import router as users
from memory_site import api_glossary
from memory_site.core.db.cluster import is_node_away
from memory_site.core.db.damage import DAMAGED, is_damaged
from memory_site.core.errors import Busy, Conflict, InvalidField, NotFound
from memory_site.core.http.consistency import route_reads
from memory_site.core.http.field_errors import clarify_message
from memory_site.core.http.openapi import DescribedAPI
from memory_site.core.http.parsing import BODY_TOO_LARGE, StrictParser, validate_request
from memory_site.core.http.problems import MAX_REPORTED_ERRORS, Problem, invalid_field, problem_response
from memory_site.core.http.request_metrics import name_operation
from sessions_app.api.conversations import router as conversations
from sessions_app.api.keys import router as keys
from sessions_app.api.session_links import router as session_links
from sessions_app.api.sessions import router as sessions
from sessions_app.auth import DISK_FULL
from sessions_app.encryption import HistoryUnreadable
from sessions_app.models import KEY_PREFIX

log = logging.getLogger(__name__)
NOT_STORABLE = "A value cannot be stored."
# Class 54 of PostgreSQL's error codes, program limit exceeded: labels too long for an index, above all.
PROGRAM_LIMIT_CLASS = "54"
DISK_FULL_STATE = "53100"
# A memory cannot move to another user while a row of these tables refers to it.
GRAPH_TABLES = {"graph_relationship", "graph_pendingrelationship"}
# Of a foreign key's message in every language.
NAMESPACE_TABLE = "sessions_app_namespace"
RETRY_HEADERS = {"Retry-After": "5"}
DATABASE_UNAVAILABLE = Problem(503, "The database is away or too busy.", headers=RETRY_HEADERS)
KEY_NEEDED = Problem(
    401, f"A valid API key is needed: Authorization: Bearer {KEY_PREFIX}…", headers={"WWW-Authenticate": "Bearer"}
)
DAMAGED_DATA = Problem(500, DAMAGED)
INTERNAL_ERROR = Problem(500, "Something went wrong here; the log knows more.")
DESCRIPTION = f"""One memory for all of a team's agents: store, embed, find, forget.

Every operation needs an API key of one namespace: `Authorization: Bearer {KEY_PREFIX}…`. Errors are problem documents
(RFC 9457). Every `POST` and `PUT` accepts `Idempotency-Key`: a retry with the same key and body gets the same
response."""

api = DescribedAPI(
    fields=api_glossary.FIELDS,
    parameters=api_glossary.PARAMETERS,
    examples=api_glossary.EXAMPLES,
    title="Memory Site",
    version="1",
    description=DESCRIPTION,
    parser=StrictParser(),
    openapi_url="/openapi.json",
    docs_url="/docs",
    urls_namespace="api",
)
api.add_decorator(validate_request, mode="view")
api.add_decorator(route_reads, mode="view")
api.add_decorator(name_operation, mode="view")
# Before routers whose path parameters would match these addresses. A key may end like any of them.
api.add_router("", keys)
api.add_router("", by_key)
api.add_router("", recall)
api.add_router("", forgetting)
api.add_router("", forgetting_outdated)
api.add_router("", lifetimes)
api.add_router("", values)
api.add_router("", memories)
api.add_router("", labels)
api.add_router("", states)
api.add_router("", history)
api.add_router("", sessions)
api.add_router("", session_links)
api.add_router("", conversations)
api.add_router("", messages)
api.add_router("", ingestions)
api.add_router("", repositories)
api.add_router("", knowledge)
api.add_router("", workflows)
api.add_router("", performance)
api.add_router("", tool_results)
api.add_router("", jobs)
api.add_router("", insights)
api.add_router("", projects)
api.add_router("", unified)
api.add_router("", clusters)
api.add_router("", patterns)
api.add_router("", preferences)
api.add_router("", context)
api.add_router("", relationships)
api.add_router("", graphs)
# After every other address below /users: a user's id may contain slashes.
api.add_router("", users)

# The first class in an exception's MRO decides. A DataError's text contains the row, so it is never passed on.
PROBLEM_BY_ERROR = {
    AuthenticationError: lambda error: KEY_NEEDED,
    Http404: lambda error: Problem(404, "There is nothing here."),
    HttpError: lambda error: unwrap_http_error(error),
    RequestDataTooBig: lambda error: Problem(413, BODY_TOO_LARGE),
    ValidationError: lambda error: Problem(422, "The request is not valid.", errors=list_field_errors(error)),
    TextRefused: lambda error: Problem(422, f"The query cannot be embedded. {error}"),
    DataError: lambda error: Problem(422, NOT_STORABLE),
    HistoryUnreadable: lambda error: Problem(500, str(error)),
    NotFound: lambda error: Problem(404, str(error)),
    Conflict: lambda error: Problem(409, str(error)),
    InvalidField: lambda error: invalid_field(error.field, error.message),
    Busy: lambda error: Problem(503, str(error), headers=RETRY_HEADERS),
    IntegrityError: lambda error: map_integrity_error(error),
    EmbedderUnavailable: lambda error: Problem(
        503, "The embedder is away; searching by words works.", headers=RETRY_HEADERS
    ),
    OperationalError: lambda error: map_operational_error(error),
    InterfaceError: lambda error: DATABASE_UNAVAILABLE,
    InternalError: lambda error: map_internal_error(error),
    Problem: lambda error: error,
}


def map_internal_error(error: InternalError) -> Problem:
    if is_damaged(error):
        return DAMAGED_DATA
    return DATABASE_UNAVAILABLE if is_node_away(error) else INTERNAL_ERROR


def map_integrity_error(error: IntegrityError) -> Problem:
    match error.__cause__:
        case UniqueViolation():
            return Problem(409, explain_duplicate(error) or DUPLICATE_MEMORY_DETAIL)
        case ForeignKeyViolation() as cause if cause.diag.table_name in GRAPH_TABLES:
            return Problem(409, RELATED_MEMORY_DETAIL)
        case ForeignKeyViolation() as cause if NAMESPACE_TABLE in (cause.diag.message_detail or ""):
            return KEY_NEEDED  # it was deleted during the request, with its keys
        case _:
            return Problem(422, NOT_STORABLE)


def map_operational_error(error: OperationalError) -> Problem:
    state = getattr(error.__cause__, "sqlstate", None) or ""
    if state == DISK_FULL_STATE:
        return DISK_FULL
    return Problem(422, NOT_STORABLE) if state.startswith(PROGRAM_LIMIT_CLASS) else DATABASE_UNAVAILABLE


def unwrap_http_error(error: HttpError) -> Problem:
    """Return the parser's Problem, which django-ninja wraps into an error without details."""
    cause = error.__cause__
    return cause if isinstance(cause, Problem) else Problem(error.status_code, str(error))


def list_field_errors(error: ValidationError) -> list[dict[str, str]]:
    """List fields and reasons, never values, and at most MAX_REPORTED_ERRORS."""
    return [
        {"field": format_field_path(each["loc"]), "message": clarify_message(each["msg"].removeprefix("Value error, "))}
        for each in error.errors[:MAX_REPORTED_ERRORS]
    ]


def format_field_path(location: tuple) -> str:
    """Return the field's path in the request, without pydantic's source and parameter name."""
    parts = [part for part in location if "[" not in str(part)]
    # Of a parameter only its name counts and, in a list, the position after it.
    start = 2 if parts[0] == "body" else max(at for at, part in enumerate(parts) if isinstance(part, str))
    return ".".join(map(str, parts[start:] or parts[:1]))


def handle_exception(request: HttpRequest, error: Exception) -> HttpResponse:
    kind = next((kind for kind in type(error).__mro__ if kind in PROBLEM_BY_ERROR), None)
    problem = INTERNAL_ERROR if kind is None else PROBLEM_BY_ERROR[kind](error)
    if problem is INTERNAL_ERROR:
        log.exception("Request %s failed", getattr(request, "id", ""), exc_info=error)
    elif problem is DAMAGED_DATA:
        # The first line names the file and the page, and never holds a row.
        log.error("Request %s met a damaged page: %s", getattr(request, "id", ""), str(error).partition("\n")[0])
    elif problem.status >= 500:
        log.warning("Request %s: %s: %s", getattr(request, "id", ""), type(error).__name__, problem.detail)
    return problem_response(request, problem)


for kind in (*PROBLEM_BY_ERROR, Exception):
    api.add_exception_handler(kind, cast(Any, handle_exception))  # ninja declares it for a class, not for its instance
