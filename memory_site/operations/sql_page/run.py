"""Run one statement as the role of the SQL page: bounded in time, rows and bytes, and rolled back."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql
from psycopg.pq import ExecStatus

from memory_site.operations.sql_page.role import TIMEOUT_SECONDS, RoleProblem, check_role, get_address

MAX_ROWS, MAX_CSV_ROWS = 500, 10_000
MAX_STATEMENT_LENGTH, MAX_CELL_LENGTH, MAX_RESULT_BYTES = 10_000, 2_000, 5_000_000
FETCHED_ROWS = 100
LIMITS_SQL = f"""
SET LOCAL statement_timeout = '{TIMEOUT_SECONDS}s'; SET LOCAL lock_timeout = '1s';
SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL search_path = public
"""
#: Functions of PostgreSQL that every role may call, and no reader needs: they wait, take locks that others wait for,
#: write to the log of the database, or run a text as a statement, in which these names could hide.
REFUSED_WORDS = re.compile(
    r"""\b(
        pg_sleep\w* | pg_(?:try_)?advisory_\w+ | pg_logical_\w+ | pg_notify | pg_export_snapshot | set_config
        | pg_(?:cancel|terminate)_backend | nextval | setval | lo_\w+ | lo(?:read|write) | pg_read_\w+ | pg_ls_\w+
        | pg_stat_file | dblink\w* | \w+_to_xml\w* | ts_stat | ts_rewrite | txid_current | pg_current_xact_id
        | pg_stat_reset\w* | pg_walfile\w* | pg_replication_\w+ | pg_create_\w+ | pg_switch_wal
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
#: A name written in escapes, which the list above would not see.
ESCAPED_NAME = re.compile(r"u&\s*\"", re.IGNORECASE)
NO_ROWS = "Only a statement that returns rows can be run here: SELECT, VALUES, TABLE or WITH."


class SqlProblem(Exception):
    """The statement was not run, or failed; the message is for the operator who wrote it."""


@dataclass(frozen=True)
class Result:
    """The rows as texts, None for NULL. `is_cut`: there are more rows than were read."""

    columns: list[str]
    rows: list[tuple[str | None, ...]]
    is_cut: bool
    seconds: float


def run_statement(text: str, max_rows: int = MAX_ROWS) -> Result:
    """Run one statement and return its rows. Raises SqlProblem."""
    statement = clean(text)
    began = time.monotonic()
    with explain_errors(), connect() as reader:
        reader.execute(LIMITS_SQL)
        check_role(reader)
        columns = describe_columns(reader, statement)
        declare_cursor(reader, statement, len(columns))
        rows, is_cut = fetch(reader, max_rows, began + TIMEOUT_SECONDS)
        reader.rollback()
    return Result(columns, rows, is_cut, time.monotonic() - began)


def clean(text: str) -> str:
    """Return the statement without its semicolon. Raises SqlProblem for one that is not run."""
    statement = text.strip().rstrip("; \t\r\n")
    if not statement:
        raise SqlProblem("There is no statement.")
    if len(statement) > MAX_STATEMENT_LENGTH:
        raise SqlProblem(f"A statement has at most {MAX_STATEMENT_LENGTH:,} characters.")
    if "\0" in statement or any("\ud800" <= each <= "\udfff" for each in statement):
        raise SqlProblem("The statement has a character that PostgreSQL cannot read.")
    if found := REFUSED_WORDS.search(statement):
        raise SqlProblem(f"{found[1]} is not run here.")
    if ESCAPED_NAME.search(statement):
        raise SqlProblem('Names written as U&"…" are not run here.')
    return statement


@contextmanager
def connect() -> Iterator[psycopg.Connection]:
    """Provide a connection that ends with the statement: nothing of the session is left for the next one."""
    with psycopg.connect(**get_address(), connect_timeout=3) as reader:
        reader.read_only = True
        yield reader


@contextmanager
def explain_errors() -> Iterator[None]:
    """Raise SqlProblem, in words, for what the role or the server says."""
    try:
        yield
    except RoleProblem as problem:
        raise SqlProblem(str(problem)) from None
    except errors.QueryCanceled:
        raise SqlProblem(f"The statement was stopped after {TIMEOUT_SECONDS} seconds.") from None
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise SqlProblem(f"The database does not answer the SQL page: {reason}") from None
    except psycopg.Error as error:
        raise SqlProblem(describe_error(error)) from None


def describe_error(error: psycopg.Error) -> str:
    parts = [error.diag.message_primary or str(error).strip().splitlines()[0]]
    parts += [f"{name}: {text}" for name, text in (("Hint", error.diag.message_hint),) if text]
    return " ".join(parts)[:1000]


def describe_columns(reader: psycopg.Connection, statement: str) -> list[str]:
    """Return the names of the statement's columns. It is parsed by the extended protocol, which takes one statement
    only, and not run. Raises SqlProblem for one without columns."""
    connection = reader.pgconn
    prepared = connection.prepare(b"", statement.encode())
    if prepared.status != ExecStatus.COMMAND_OK:
        raise errors.error_from_result(prepared)
    described = connection.describe_prepared(b"")
    if described.status != ExecStatus.COMMAND_OK:
        raise errors.error_from_result(described)
    if not described.nfields:
        raise SqlProblem(NO_ROWS)
    return [(described.fname(number) or b"").decode(errors="replace") for number in range(described.nfields)]


def declare_cursor(reader: psycopg.Connection, statement: str, columns: int) -> None:
    """Declare a cursor over the rows as texts of a bounded length. Within the parentheses nothing but a query can
    stand, and what was parsed by itself closes none of them."""
    names = [sql.Identifier(f"c{number}") for number in range(columns)]
    declared = sql.SQL("DECLARE result NO SCROLL CURSOR FOR SELECT {} FROM (\n{}\n) AS statement ({})").format(
        sql.SQL(", ").join(sql.SQL("left({}::text, {})").format(name, MAX_CELL_LENGTH + 1) for name in names),
        sql.SQL(statement),  # the operator's own text
        sql.SQL(", ").join(names),
    )
    result = reader.pgconn.exec_params(declared.as_bytes(reader), None)
    if result.status != ExecStatus.COMMAND_OK:
        raise errors.error_from_result(result)


def fetch(reader: psycopg.Connection, max_rows: int, deadline: float) -> tuple[list[tuple], bool]:
    """Return the rows of the cursor up to the limits, and whether there are more."""
    rows: list[tuple] = []
    size = 0
    while True:
        wanted = min(FETCHED_ROWS, max_rows + 1 - len(rows))
        found = reader.execute(f"FETCH {wanted} FROM result").fetchall()
        rows += [tuple(map(shorten, row)) for row in found]
        size += sum(len(cell or "") for row in found for cell in row)
        if len(found) < wanted:
            return rows, False
        if len(rows) > max_rows or size > MAX_RESULT_BYTES or time.monotonic() > deadline:
            return rows[:max_rows], True


def shorten(cell: str | None) -> str | None:
    return cell if cell is None or len(cell) <= MAX_CELL_LENGTH else f"{cell[:MAX_CELL_LENGTH]}…"
