"""Trying again after a deadlock: of two statements that wait for each other PostgreSQL ends one; the other goes on."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import OperationalError, connection
from psycopg.errors import DeadlockDetected

MAX_ATTEMPTS, RETRY_DELAY_SECONDS = 4, 0.02


def retry_on_deadlock(work: Callable[..., Any]) -> Callable[..., Any]:
    """Around work that may be done again as a whole. Inside a transaction it is not: what came before is lost too."""

    @wraps(work)
    def tried(*args: Any, **kwargs: Any) -> Any:
        for turn in range(1, MAX_ATTEMPTS):
            try:
                return work(*args, **kwargs)
            except OperationalError as error:
                if not isinstance(error.__cause__, DeadlockDetected) or connection.in_atomic_block:
                    raise
            time.sleep(RETRY_DELAY_SECONDS * 2**turn)
        return work(*args, **kwargs)

    return tried
