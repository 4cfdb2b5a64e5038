"""Bearer authentication: `request.auth` is the caller, and each operation names the scopes it needs.

An operation whose answer may hold what others have stored needs `read`, one that stores, changes or deletes needs
`write`. So a key with `write` alone adds and deletes, and is never given a content that it did not send itself.
"""

from contextlib import nullcontext

from django.http import HttpRequest
from ninja.security import HttpBearer

from memory_site.core.caches import Cache
from memory_site.core.db.replicas import replicas
from memory_site.core.disk_space import DISK_FULL_DETAIL, is_disk_low
from memory_site.core.http.problems import Problem
from sessions_app.models import KEY_PREFIX, READ, WRITE, ApiKey, Caller, hash_token

# A key is looked up again after this time, so every process refuses a revoked key within a second.
AUTH_CACHE_SECONDS = 0.5
MAX_CACHED_TOKENS = 10_000
caller_cache: Cache[bytes, Caller] = Cache(MAX_CACHED_TOKENS, AUTH_CACHE_SECONDS)
#: A key never changes its namespace, so this may be remembered; it says nothing about whether the key is still valid.
namespace_cache: Cache[bytes, int] = Cache(MAX_CACHED_TOKENS)
DISK_FULL = Problem(503, DISK_FULL_DETAIL, headers={"Retry-After": "60"})


def find_caller(token: str) -> Caller | None:
    """Return the caller whose key this token is, or None. Query the database at most twice a second per token."""
    key = hash_token(token)
    caller = caller_cache.get(key)
    if caller is None and (caller := look_up_caller(token)) is not None:
        caller_cache.set(key, caller)
        namespace_cache.set(key, caller.namespace_id)
    return caller


def look_up_caller(token: str) -> Caller | None:
    """Ask the primary; while it is away, ask a replica, so that reads of replicas go on."""
    source = replicas.choose() if replicas.is_primary_away else None
    with source.replica.serving() if source else nullcontext():
        return ApiKey.objects.authenticate(token)


def find_known_namespace(authorization: str) -> int | None:
    """Return the namespace of a key that was valid in this process before, or None. Never query the database."""
    scheme, _, token = authorization.partition(" ")
    return namespace_cache.get(hash_token(token)) if scheme.lower() == "bearer" else None


class ApiRequest(HttpRequest):
    """A request as operations get it: with the id from the middleware and the authenticated caller."""

    id: str
    auth: Caller


class ApiKeyAuth(HttpBearer):
    """Bearer authentication of every caller with a valid key."""

    openapi_description = f"An API key: `Authorization: Bearer {KEY_PREFIX}…`"

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        return find_caller(token) if token.isascii() and len(token) < 256 else None


class Requires(ApiKeyAuth):
    """Bearer authentication of callers whose key has all these scopes. A full disk refuses what `stores`."""

    def __init__(self, *scopes: str, stores: bool = False):
        super().__init__()
        self.scopes, self.stores = scopes, stores

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        caller = super().authenticate(request, token)
        if caller and (missing := [scope for scope in self.scopes if not caller.has_scope(scope)]):
            raise Problem(403, f"This API key lacks the scope '{missing[0]}'.")
        if caller and self.stores and request.method != "DELETE" and is_disk_low():
            raise DISK_FULL
        return caller


any_access = ApiKeyAuth()
read_access, write_access = Requires(READ), Requires(WRITE, stores=True)
#: For changes that are answered with what was stored before, and for reads that count accesses.
change_access = Requires(READ, WRITE, stores=True)
#: For operations that delete by `POST`; jobs also show what they mean.
delete_access, job_access = Requires(WRITE), Requires(READ, WRITE)
