"""Statements on whole databases."""

import psycopg
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper
from psycopg import sql
from psycopg.errors import ObjectInUse

from memory_site.operations.selftest.scratch_site import wait_until


def execute_when_free(opened: psycopg.Connection | CursorWrapper, statement: sql.Composed | str) -> None:
    """Execute it; again, for two minutes, while others' sessions in a database end: it can then neither be copied nor
    dropped."""

    def is_done() -> bool:
        try:
            opened.execute(statement)
        except (ObjectInUse, OperationalError) as error:
            if not isinstance(error, ObjectInUse) and not isinstance(error.__cause__, ObjectInUse):
                raise
            return False
        return True

    wait_until(is_done, 120, str(statement))
