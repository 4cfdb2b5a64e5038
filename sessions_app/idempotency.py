"""Idempotency-Key: a retried POST or PUT gets the stored answer of the first one and changes nothing.

The answer is stored in the transaction that did the work, so that either both exist or neither. A second request with
the same key waits on the unique index for the first one's transaction, then replays its answer.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any

from django.db import connection, transaction
from django.http import HttpResponse

from memory_site.core.http.problems import invalid_field
from sessions_app.auth import ApiRequest

METHODS = ("POST", "PUT")
ANSWER_TABLE = "sessions_app_idempotentanswer"
FRESH_CONDITION = f"{ANSWER_TABLE}.created_at > now() - interval '24 hours'"
# Inserts the key, or takes over an expired answer. Returns no row when a fresh answer exists.
CLAIM_KEY_SQL = f"""
INSERT INTO {ANSWER_TABLE} AS stored (namespace_id, api_key_id, key, fingerprint, created_at)
VALUES (%s, %s, %s, %s, now())
ON CONFLICT (namespace_id, api_key_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, created_at = excluded.created_at
WHERE excluded.created_at - stored.created_at >= interval '24 hours'
RETURNING id
"""
SELECT_ANSWER_SQL = (
    f"SELECT fingerprint, status, body, etag FROM {ANSWER_TABLE}"
    f" WHERE namespace_id = %s AND api_key_id = %s AND key = %s AND {FRESH_CONDITION}"
)
UPSERT_ANSWER_SQL = f"""
INSERT INTO {ANSWER_TABLE} (namespace_id, api_key_id, key, fingerprint, status, body, etag, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, now())
ON CONFLICT (namespace_id, api_key_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body, etag = excluded.etag,
    created_at = excluded.created_at
"""


def idempotent(operation: Callable[..., HttpResponse] | None = None, *, atomic: bool = True) -> Callable:
    """Make an operation honour Idempotency-Key when it is called by POST or PUT.

    A PUT is idempotent by HTTP only as long as nothing comes between it and its repetition: one that arrives after a
    later DELETE would bring back what that deleted.

    `write_operation` includes this. Operations that only read take atomic=False: a search may call the embedder, and no
    transaction may stay open during a network call.
    """
    if operation is None:
        return lambda decorated: idempotent(decorated, atomic=atomic)

    @wraps(operation)
    def once(request: ApiRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        key = request.headers.get("Idempotency-Key")
        if key is None or request.method not in METHODS:
            return operation(request, *args, **kwargs)
        if not (1 <= len(key) <= 255 and key.isprintable()):
            raise invalid_field("Idempotency-Key", "must be 1 to 255 printable characters")
        identity = (request.auth.namespace_id, request.auth.key_id, key, hash_request(request))
        with transaction.atomic() if atomic else nullcontext():
            if (not atomic or not claim_key(identity)) and (answer := find_previous_response(identity)):
                return answer
            response = operation(request, *args, **kwargs)
            execute_sql(
                UPSERT_ANSWER_SQL, [*identity, response.status_code, response.content, response.get("ETag", "")]
            )
        return response

    return once


def hash_request(request: ApiRequest) -> bytes:
    """Return the SHA-256 digest of method, path with query, and body."""
    return hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode() + request.body).digest()


def claim_key(identity: tuple[int, str, str, bytes]) -> bool:
    return bool(execute_sql(CLAIM_KEY_SQL, identity))


def find_previous_response(identity: tuple[int, str, str, bytes]) -> HttpResponse | None:
    """Return the stored answer, or None. Raise Problem 422 when the key was used for another request."""
    rows = execute_sql(SELECT_ANSWER_SQL, identity[:3])
    if not rows:
        return None
    fingerprint, status, body, etag = rows[0]
    if bytes(fingerprint) != identity[3]:
        raise invalid_field("Idempotency-Key", "was used before for another request")
    headers = {"Idempotency-Replayed": "true"} | ({"ETag": etag} if etag else {})
    return HttpResponse(bytes(body), status=status, content_type="application/json", headers=headers)


def execute_sql(sql: str, parameters: Sequence[Any]) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []
