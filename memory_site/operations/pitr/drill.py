"""The drill: stores rows, notes the time, deletes them, recovers to the noted time beside the server, and compares.

Only rows of the drill's own are deleted. Every other table is compared as well: for a moment the writers of all tables
wait, so that the noted time and the snapshot of the hashes are the same state exactly.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.wal_archive.settings import ArchiveSettings
from memory_site.operations.files import write_durably
from memory_site.operations.pitr.archive_check import force_segment
from memory_site.operations.pitr.problems import PitrProblem
from memory_site.operations.pitr.recovery import Plan, Recovery, Report
from memory_site.operations.pitr.recovery_server import RECOVERY_PORT
from memory_site.operations.pitr.repository import Repository
from memory_site.operations.pitr.server import connect_superuser, fetch_row, read_position
from memory_site.operations.pitr.table_hashes import Contents, build_lock, hash_tables, list_tables

DRILLS_FILE = "drills.json"
MAX_NOTED_DRILLS = 100
DRILL_ROWS = 1000
SCHEMA, TABLE = "pitr_drill", "pitr_drill.rows"
#: The schema belongs to the site's role, so that a backup that runs meanwhile can read it.
CREATE_SQL = f"""
DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;
CREATE SCHEMA {SCHEMA} AUTHORIZATION memory;
CREATE TABLE {TABLE} (number integer PRIMARY KEY, body text NOT NULL);
ALTER TABLE {TABLE} OWNER TO memory
"""
FILL_SQL = f"INSERT INTO {TABLE} SELECT number, %s::text || number FROM generate_series(1, {DRILL_ROWS}) AS number"
#: Writers wait no longer than this for the drill, less than the three seconds after which a request would fail.
LOCK_TIMEOUT, LOCK_ATTEMPTS = "1500ms", 3


@dataclass(frozen=True)
class DrillResult:
    """What a drill showed. `seconds` is the time from the first byte copied until the recovered database answered."""

    at: str
    recovered_to: str
    ok: bool
    rows: int
    tables: int
    seconds: float
    message: str


@dataclass(frozen=True)
class Moment:
    """A time, and what the tables held at exactly that time. Without the lock only the drill's own rows are known."""

    time: datetime
    contents: Contents
    complete: bool


def run_drill(
    home: DataDirectory,
    settings: ArchiveSettings,
    report: Report = lambda text: None,
    advance: Callable[[int], None] = lambda segments: None,
) -> DrillResult:
    """Run a drill on the running server and note its result. Raises PitrProblem, which is noted too."""
    archive = Path(settings.archive)
    try:
        result = drill(home, archive, report, advance)
    except PitrProblem as error:
        note_drill(archive, DrillResult(format_now(), "", False, 0, 0, 0.0, str(error)))
        raise
    note_drill(archive, result)
    return result


def drill(home: DataDirectory, archive: Path, report: Report, advance: Callable[[int], None]) -> DrillResult:
    with connect_superuser(home) as connection, drill_rows(connection):
        report(f"Stored {DRILL_ROWS} rows; noting the time and the contents of all tables")
        moment = note_moment(home, connection)
        connection.execute(f"DELETE FROM {TABLE}")
        report("Deleted the rows; archiving the log")
        force_segment(home, Repository(archive))
        recovery = Recovery(home, archive, report)
        plan = recovery.plan(moment.time, read_position(connection).segment)
        report(f"Recovering {plan.window.base.name} to {moment.time.isoformat()}")
        return recover_and_compare(recovery, plan, moment, advance)


@contextmanager
def drill_rows(connection: psycopg.Connection) -> Iterator[None]:
    """Keep the drill's own table, filled with new rows, inside the block."""
    connection.execute(CREATE_SQL)
    try:
        connection.execute(FILL_SQL, [secrets.token_hex(8)])
        yield
    finally:
        connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def note_moment(home: DataDirectory, connection: psycopg.Connection) -> Moment:
    for _ in range(LOCK_ATTEMPTS):
        with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            return note_locked_moment(home, connection)
    contents = {name: value for name, value in hash_tables(connection).items() if name == TABLE}
    return Moment(fetch_row(connection, "SELECT clock_timestamp()")[0], contents, complete=False)


def note_locked_moment(home: DataDirectory, connection: psycopg.Connection) -> Moment:
    """Note the time and take a snapshot while nothing is written; hash the tables after writers go on.

    A writer that came before has committed before the time, one that waits will commit after it.
    """
    tables = list_tables(connection)
    with connect_superuser(home) as reader:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            connection.execute(build_lock(tables))
            at, snapshot = fetch_row(connection, "SELECT clock_timestamp(), pg_export_snapshot()")
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            reader.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            reader.execute("SELECT 1")
        contents = hash_tables(reader)
        reader.execute("COMMIT")
    return Moment(at, contents, complete=True)


def recover_and_compare(recovery: Recovery, plan: Plan, moment: Moment, advance: Callable[[int], None]) -> DrillResult:
    with (
        recovery.recovered_copy(plan, advance) as recovered,
        connect_superuser(recovery.home, RECOVERY_PORT) as connection,
    ):
        found = hash_tables(connection)
    differing = compare(moment, found)
    return DrillResult(
        at=format_now(),
        recovered_to=moment.time.isoformat(),
        ok=not differing,
        rows=sum(rows for rows, _ in moment.contents.values()),
        tables=len(moment.contents),
        seconds=round(recovered.seconds, 2),
        message=describe(moment, differing),
    )


def compare(moment: Moment, found: Contents) -> list[str]:
    """Return the tables that differ; one that is missing or was added differs too."""
    names = moment.contents.keys() | (found.keys() if moment.complete else set())
    return sorted(name for name in names if moment.contents.get(name) != found.get(name))


def describe(moment: Moment, differing: list[str]) -> str:
    if differing:
        return f"These tables differ from what they held at that time: {', '.join(differing)}."
    if not moment.complete:
        return "The drill's rows came back; other tables were not compared, because their writers did not pause."
    return "Every table is as it was at that time."


def format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def note_drill(archive: Path, result: DrillResult) -> None:
    noted = [*read_drills(archive), asdict(result)][-MAX_NOTED_DRILLS:]
    write_durably(archive / DRILLS_FILE, json.dumps(noted, indent=1).encode())


def read_drills(archive: Path) -> list[dict]:
    """Return the results of the latest drills, oldest first."""
    try:
        return json.loads((archive / DRILLS_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return []
