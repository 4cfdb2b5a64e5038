"""Retries after a deadlock: PostgreSQL cancels one of two transactions that wait for each other."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import OperationalError, connection
from psycopg.errors import DeadlockDetected

MAX_ATTEMPTS, RETRY_DELAY_SECONDS = 4, 0.02


def retry_on_deadlock(work: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate work that may be repeated as a whole. Inside a transaction, which is lost, it is not repeated."""

    @wraps(work)
    def run(*args: Any, **kwargs: Any) -> Any:
        for attempt in range(1, MAX_ATTEMPTS):
            try:
                return work(*args, **kwargs)
            except OperationalError as error:
                if not isinstance(error.__cause__, DeadlockDetected) or connection.in_atomic_block:
                    raise
            time.sleep(RETRY_DELAY_SECONDS * 2**attempt)
        return work(*args, **kwargs)

    return run
