"""A statement that may only take so long."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, transaction

SET_TIMEOUT_SQL = "SELECT current_setting('statement_timeout'), set_config('statement_timeout', %s, true)"


@contextmanager
def limit_statements(seconds: float, using: str = "default") -> Iterator[None]:
    """Limit each statement inside the block, which is a transaction or a savepoint of one.

    A statement that takes longer raises OperationalError (QueryCanceled) and leaves the outer transaction usable.
    """
    is_nested = connections[using].in_atomic_block
    with transaction.atomic(using):
        with connections[using].cursor() as cursor:
            cursor.execute(SET_TIMEOUT_SQL, [f"{max(round(seconds * 1000), 1)}ms"])
            before = cursor.fetchone()[0]
        yield
        if is_nested:  # else the setting ends with the transaction
            with connections[using].cursor() as cursor:
                cursor.execute(SET_TIMEOUT_SQL, [before])
