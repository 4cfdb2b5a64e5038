"""Run a statement for an operator, and keep who ran it and what came of it."""

import time
from datetime import timedelta

from django.db.models.functions import Now

from memory_site.operations.models import SqlStatement
from memory_site.operations.sql_page.run import MAX_ROWS, MAX_STATEMENT_LENGTH, Result, SqlProblem, run_statement

#: How long a statement is kept: it may name a user.
RETENTION = timedelta(days=90)


def run_logged(text: str, username: str, max_rows: int = MAX_ROWS) -> Result:
    """Run one statement, as `run_statement` does, with a row of the log that is there before. Raises SqlProblem."""
    SqlStatement.objects.filter(created_at__lt=Now() - RETENTION).delete()
    kept = text.replace("\0", "").encode(errors="replace").decode()[: MAX_STATEMENT_LENGTH + 1]
    entry = SqlStatement.objects.create(username=username, statement=kept)
    began = time.monotonic()
    try:
        result = run_statement(text, max_rows)
    except SqlProblem as problem:
        note(entry, seconds=time.monotonic() - began, error=str(problem))
        raise
    note(entry, seconds=result.seconds, rows=len(result.rows), is_cut=result.is_cut)
    return result


def note(entry: SqlStatement, **values: object) -> None:
    SqlStatement.objects.filter(pk=entry.pk).update(**values)
