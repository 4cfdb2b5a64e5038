"""X-Consistency: which requests may read a replica, and what their answers say.

An operation that asks for the scope `read` alone may. With `X-Consistency: eventual` it reads a replica that is fresh
enough; without the header it does so only if DEFAULT_CONSISTENCY says so, and its address does not end with the name of
one object. A request with an Idempotency-Key keeps its answer, so it needs the primary.

A replica that fails is no error: the request is repeated on the primary, once.
"""

import inspect
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from ninja.operation import Operation
from psycopg.errors import QueryCanceled

from memory_site.core.db.replicas import ReplicaState, replicas
from memory_site.core.http.problems import Problem, invalid_field, problem_response

HEADER, TOKEN_HEADER = "X-Consistency", "X-Consistency-Token"
STRONG, EVENTUAL = settings.CONSISTENCIES
#: The scopes of an operation that changes nothing.
READ_SCOPES = ("read",)
#: A position in the write-ahead log, as PostgreSQL writes it.
TOKEN_PATTERN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
POSITION_SQL = "SELECT pg_current_wal_insert_lsn()"
#: Names of the operations that may read a replica, for the OpenAPI document.
replica_reads: set[str] = set()


@dataclass
class Consistency:
    """What a request asks for, None if nothing, and the replica that it reads, None if the primary."""

    asked: str | None
    position: int
    source: ReplicaState | None = None

    def describe(self) -> str:
        """Return the answer's X-Consistency. `lag`: seconds that the data are old at most, rounded up."""
        if self.source is None:
            return STRONG
        lag = math.ceil(self.source.lag * 100) / 100
        return f"{EVENTUAL}; server={self.source.replica.alias}; lag={lag:.2f}"


def route_reads(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate an operation's run: read the headers, choose the server, and say in the answer which one it was."""
    operation: Operation = inspect.unwrap(run).__self__  # a method, below its decorators
    reads, by_default = has_read_scope(operation), not names_one_object(operation)
    if reads:
        replica_reads.add(operation.view_func.__name__)
        operation.view_func = read_from_replica(operation.view_func)

    @wraps(run)
    def routed(request: HttpRequest, **path: Any) -> HttpResponse:
        if not asks_for_consistency(request):
            return run(request, **path)
        try:
            consistency = read_headers(request)
        except Problem as problem:
            return problem_response(request, problem)
        if reads and wants_replica(request, consistency, by_default):
            consistency.source = replicas.choose(consistency.position)
        request.consistency = consistency  # type: ignore[attr-defined]
        response = run(request, **path)
        add_headers(response, consistency, wrote=not reads)
        return response

    return routed


def has_read_scope(operation: Operation) -> bool:
    return any(getattr(auth, "scopes", None) == READ_SCOPES for auth in operation.auth_callbacks)


def names_one_object(operation: Operation) -> bool:
    return operation.path.endswith("}")


def asks_for_consistency(request: HttpRequest) -> bool:
    """Return whether anything has to be done at all. Without replicas and headers nothing has."""
    headers = request.META
    asked = "HTTP_X_CONSISTENCY" in headers or "HTTP_X_CONSISTENCY_TOKEN" in headers
    return asked or settings.DEFAULT_CONSISTENCY != STRONG


def read_headers(request: HttpRequest) -> Consistency:
    """Return what the headers ask for. Raise Problem 422 that names the wrong one."""
    asked, token = request.headers.get(HEADER), request.headers.get(TOKEN_HEADER)
    if asked not in (None, *settings.CONSISTENCIES):
        raise invalid_field(HEADER, f"must be {STRONG} or {EVENTUAL}")
    return Consistency(asked, parse_token(token) if token is not None else 0)


def parse_token(token: str) -> int:
    if (found := TOKEN_PATTERN.fullmatch(token)) is None:
        raise invalid_field(TOKEN_HEADER, "must be a token from the answer to a write, such as 0/16B3748")
    return (int(found[1], 16) << 32) + int(found[2], 16)


def wants_replica(request: HttpRequest, consistency: Consistency, by_default: bool) -> bool:
    if "HTTP_IDEMPOTENCY_KEY" in request.META:  # its answer is stored
        return False
    unasked = settings.DEFAULT_CONSISTENCY if by_default else STRONG
    return (consistency.asked or unasked) == EVENTUAL


def add_headers(response: HttpResponse, consistency: Consistency, *, wrote: bool) -> None:
    """Say which server was read; after a write for a client that reads replicas, say what they must have replayed."""
    if consistency.asked or consistency.source:
        response[HEADER] = consistency.describe()
    if wrote and consistency.asked == EVENTUAL and settings.REPLICAS and response.status_code < 400:
        with suppress(Error):  # the write is done; without a token the client reads the primary
            response[TOKEN_HEADER] = fetch_token()


def fetch_token() -> str:
    with connection.cursor() as cursor:
        cursor.execute(POSITION_SQL)
        return cursor.fetchone()[0]


def read_from_replica(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate an operation that reads: it runs on the request's replica, and on the primary if that fails."""

    @wraps(view)
    def read(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        consistency: Consistency | None = getattr(request, "consistency", None)
        if consistency is None or consistency.source is None:
            return view(request, *args, **kwargs)
        try:
            with consistency.source.replica.serving():
                return view(request, *args, **kwargs)
        except Error as error:
            if isinstance(error.__cause__, QueryCanceled):  # it takes too long on the primary as well
                raise
            consistency.source.replica.note_failure(error)
            consistency.source = None
        return view(request, *args, **kwargs)

    return read
