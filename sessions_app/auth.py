"""A bearer key becomes request.auth, the caller; an operation says which scope it needs."""

import time

from django.http import HttpRequest
from ninja.security import HttpBearer

from memory_site.core.http.problems import Problem
from sessions_app.models import ApiKey, Caller, digest

# A key that was good may be believed this long: revocation is seen by every process within a second.
AUTH_CACHE_SECONDS = 0.5
MAX_CACHED_TOKENS = 10_000
_auth_cache: dict[bytes, tuple[float, Caller]] = {}


def find_caller(token: str) -> Caller | None:
    """Who presents this token; asked of the database at most twice a second for one token."""
    key = digest(token)
    found = _auth_cache.get(key)
    if found and time.monotonic() - found[0] < AUTH_CACHE_SECONDS:
        return found[1]
    caller = ApiKey.objects.caller(token)
    if caller is None:
        _auth_cache.pop(key, None)
        return None
    if len(_auth_cache) >= MAX_CACHED_TOKENS:
        _auth_cache.clear()
    _auth_cache[key] = (time.monotonic(), caller)
    return caller


class ApiRequest(HttpRequest):
    """A request as an operation sees it: named by the middleware, with the caller its key belongs to."""

    id: str
    auth: Caller


class Requires(HttpBearer):
    """Lets a caller in whose key is good and carries the scope."""

    openapi_description = "An API key: `Authorization: Bearer mem_…`"

    def __init__(self, scope: str):
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        caller = find_caller(token) if token.isascii() and len(token) < 256 else None
        if caller and self.scope not in caller.scopes:
            raise Problem(403, f"This API key lacks the scope '{self.scope}'.")
        return caller


read_access, write_access = Requires("read"), Requires("write")
