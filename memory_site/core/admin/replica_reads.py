"""Pages of the console read a replica, where DEFAULT_CONSISTENCY is `eventual`."""

import math
from collections.abc import Callable

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse

from memory_site.core.db.replicas import ReplicaState, replicas
from memory_site.core.http.consistency import EVENTUAL, HEADER, Consistency

CONSOLE_PREFIX = "/admin/"
#: Set by every change; while a browser sends it, it reads the primary and so sees what it has changed.
WROTE_COOKIE = "console_wrote"


class ReplicaReadsMiddleware:
    """The innermost middleware: session and user are those of the primary, only the page is read elsewhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.DEFAULT_CONSISTENCY != EVENTUAL or not request.path.startswith(CONSOLE_PREFIX):
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return remember_write(self.get_response(request))
        source = None if WROTE_COOKIE in request.COOKIES else replicas.choose()
        return self.read_replica(request, source) if source else self.get_response(request)

    def read_replica(self, request: HttpRequest, source: ReplicaState) -> HttpResponse:
        """Return the page as the replica has it. If that fails there, return it as the primary has it."""
        _ = request.user.is_authenticated  # reads session and user, here and now
        consistency = request.consistency = Consistency(None, 0, source)  # type: ignore[attr-defined]
        with source.replica.serving():
            response = self.get_response(request)
        if consistency.source is None:
            return self.get_response(request)
        response[HEADER] = consistency.describe()
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Have the page drawn once more, if it was the replica that failed; this response is not sent."""
        consistency: Consistency | None = getattr(request, "consistency", None)
        if consistency is None or consistency.source is None or not isinstance(error, Error):
            return None
        consistency.source.replica.note_failure(error)
        consistency.source = None
        return HttpResponse(status=503)


def remember_write(response: HttpResponse) -> HttpResponse:
    response.set_cookie(
        WROTE_COOKIE,
        "1",
        max_age=math.ceil(settings.DATABASE_REPLICA_MAX_LAG) + 1,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response
