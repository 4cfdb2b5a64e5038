"""Who may read the metrics: the holder of any API key, also while the database that knows the keys is away."""

import threading

from django.db import Error, connections

from memory_site.core.http.problems import Problem
from sessions_app.auth import find_caller, find_known_namespace
from sessions_app.models import KEY_PREFIX

ANSWER_SECONDS = 2.0
MAX_TOKEN_CHARACTERS = 256
UNAUTHENTICATED = Problem(
    401, f"Metrics need an API key: Authorization: Bearer {KEY_PREFIX}…", headers={"WWW-Authenticate": "Bearer"}
)
UNKNOWN = Problem(
    503, "The database is away, and this process has not seen the API key before.", headers={"Retry-After": "15"}
)
#: The look-ups that the database has not answered. Each has a thread, so there may be only a few.
_late: list[threading.Thread] = []
MAX_LATE = 4


def check_access(authorization: str) -> Problem | None:
    """Return a problem for a caller without a key, and None for any other, after ANSWER_SECONDS at most.

    While the database is away, a key is accepted that was valid in this process before.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.isascii() or len(token) >= MAX_TOKEN_CHARACTERS:
        return UNAUTHENTICATED
    is_valid = look_up(token)
    if is_valid is None:
        return UNKNOWN if find_known_namespace(authorization) is None else None
    return None if is_valid else UNAUTHENTICATED


def look_up(token: str) -> bool | None:
    """Return whether the token is a valid key, or None if the database does not say so in time."""
    _late[:] = [thread for thread in _late if thread.is_alive()]
    if len(_late) >= MAX_LATE:
        return None
    found: list[bool] = []
    thread = threading.Thread(target=note_validity, args=(token, found), name="metrics key", daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if thread.is_alive():
        _late.append(thread)
    return found[0] if found else None


def note_validity(token: str, found: list[bool]) -> None:
    try:
        found.append(find_caller(token) is not None)
    except Error:
        pass
    finally:
        connections.close_all()
