"""What the running server says of its log, as the database's superuser of the embedded mode."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from memory_site.embedded.data_dir import DataDirectory
from memory_site.operations.pitr.segments import Segment, parse_lsn

POSITION_SQL = """
SELECT pg_walfile_name(pg_current_wal_lsn()), pg_current_wal_lsn()::text, clock_timestamp(),
       (SELECT system_identifier::text FROM pg_control_system())
"""


@dataclass(frozen=True)
class Position:
    """Where the server writes its log: the segment, the position, its clock, and the database's identifier."""

    segment: Segment
    lsn: int
    now: datetime
    system_identifier: str


@contextmanager
def connect_superuser(home: DataDirectory, port: int = 5432) -> Iterator[psycopg.Connection]:
    """Provide a connection to the database `memory`, without transactions of its own. Raises OperationalError."""
    connection = psycopg.connect(
        host=str(home.sockets),
        port=port,
        user="postgres",
        password=home.secret("postgres"),
        dbname="memory",
        autocommit=True,
        connect_timeout=5,
    )
    with connection:
        yield connection


def fetch_row(connection: psycopg.Connection, statement: str) -> tuple[Any, ...]:
    """Return the one row of a statement."""
    (row,) = connection.execute(statement).fetchall()
    return row


def read_position(connection: psycopg.Connection) -> Position:
    name, lsn, now, system = fetch_row(connection, POSITION_SQL)
    # At the boundary of two segments the name is that of the one that is full.
    return Position(Segment.at(int(name[:8], 16), parse_lsn(lsn)), parse_lsn(lsn), now, system)


def read_max_wal_bytes(connection: psycopg.Connection) -> int:
    return fetch_row(connection, "SELECT pg_size_bytes(current_setting('max_wal_size'))")[0]


def finish_segment(connection: psycopg.Connection) -> Segment:
    """Have the server finish the segment that it writes, so that it is archived. Return that segment.

    A transaction goes before: without one nothing would be finished, and recovery to a time needs a later one to know
    that it has come there.
    """
    connection.execute("SELECT pg_current_xact_id()")
    (name,) = fetch_row(connection, "SELECT pg_walfile_name(pg_switch_wal())")
    return Segment.parse_known(name)
