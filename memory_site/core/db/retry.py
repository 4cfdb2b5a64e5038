"""Trying again after a deadlock: of two statements that wait for each other PostgreSQL ends one; the other goes on."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import OperationalError, connection
from psycopg.errors import DeadlockDetected

TRIES, PAUSE_SECONDS = 4, 0.02


def surviving_deadlocks(work: Callable[..., Any]) -> Callable[..., Any]:
    """Around work that may be done again as a whole. Inside a transaction it is not: what came before is lost too."""

    @wraps(work)
    def tried(*args: Any, **kwargs: Any) -> Any:
        for turn in range(1, TRIES):
            try:
                return work(*args, **kwargs)
            except OperationalError as error:
                if not isinstance(error.__cause__, DeadlockDetected) or connection.in_atomic_block:
                    raise
            time.sleep(PAUSE_SECONDS * 2**turn)
        return work(*args, **kwargs)

    return tried
