"""The local SQLite file: connections, transactions, migrations, and its errors in plain words.

WAL mode: readers see the last commit and never wait, one writer at a time. A killed process loses nothing that was
committed, whatever `synchronous` says: the log is in the operating system's hands. Only a power cut makes a difference.
Therefore a write that the server has not got yet is synced to the disk (FULL) before the call returns, and everything
else (copies of what the server has, transient memories, checkpoints) is not (NORMAL).
"""

import errno
import os
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memory_client.hybrid.errors import LocalFileBusy, LocalFileError, LocalFileFull
from memory_client.hybrid.forks import GATE
from memory_client.hybrid.schema import APPLICATION_ID, MIGRATIONS

#: UPSERT, and PRAGMA max_page_count as a bound.
MIN_SQLITE = (3, 24)
PAGE_BYTES = 4096
#: The write-ahead log is cut to this when SQLite has moved its pages into the file.
MAX_LOG_BYTES = 16 * 1024 * 1024
SHORTAGES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
BUSY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_databases: "weakref.WeakSet[Database]" = weakref.WeakSet()


class Database:
    """One file, shared by the threads of this process and by other processes.

    busy_seconds: how long a writer waits for another one before LocalFileBusy. max_bytes: the file's largest size.
    """

    def __init__(self, path: Path, *, busy_seconds: float = 10.0, max_bytes: int = 1 << 30) -> None:
        self.path, self.busy_seconds, self.max_bytes = path, busy_seconds, max_bytes
        self._prepare()
        _databases.add(self)
        create_private_file(path)
        with GATE.passed(), translated(path):
            connection = self._take()
            try:
                migrate(connection, path)
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)

    def _prepare(self) -> None:
        self._idle: list[sqlite3.Connection] = []
        self._writing = threading.Lock()
        self._closed = False

    def forget(self) -> None:
        """Leave the connections of the process that this one was forked from, which only that one may use or close."""
        _inherited.extend(self._idle)
        self._prepare()

    def _take(self) -> sqlite3.Connection:
        if self._closed:
            raise LocalFileError(f"{self.path} is closed.")
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self.busy_seconds, isolation_level=None, check_same_thread=False
        )
        switch_to_wal(connection, self.busy_seconds)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES}")
        connection.execute(f"PRAGMA max_page_count = {max(self.max_bytes // PAGE_BYTES, 1)}")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Provide a connection for statements that read. Raises LocalFileError."""
        with GATE.passed(), translated(self.path):
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Provide a connection in a transaction: all of the block is written, or nothing.

        `durable`: on the disk when the block has ended. Raises LocalFileBusy, LocalFileFull, LocalFileError.
        """
        with translated(self.path), self._alone(), GATE.passed():  # who waits for another writer holds no fork up
            connection = self._take()
            try:
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._give_back(connection)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Queue the writers of this process here: SQLite lets them poll, and forgets who was first."""
        if not self._writing.acquire(timeout=self.busy_seconds):
            raise LocalFileBusy(f"{self.path} was busy for {self.busy_seconds:g} seconds.")
        try:
            yield
        finally:
            self._writing.release()

    def close(self) -> None:
        """Close the connections. Those in use are closed when they are given back."""
        self._closed = True
        with GATE.passed():
            while self._idle:
                self._idle.pop().close()


def switch_to_wal(connection: sqlite3.Connection, seconds: float) -> None:
    """Turn the write-ahead log on. Of two processes that do so at once SQLite refuses one, without waiting."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in BUSY_CODES or time.monotonic() > deadline:
                connection.close()
                raise
            time.sleep(0.01)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error


def translate(error: sqlite3.Error, path: Path) -> LocalFileError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in BUSY_CODES:
        return LocalFileBusy(f"{path} is busy: another process writes to it.")
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and not can_grow(path)):
        return LocalFileFull(f"{path} cannot grow: the disk, a quota or max_bytes leaves no room.")
    return LocalFileError(f"{path} cannot be used: {error}.")


def can_grow(path: Path) -> bool:
    """Return whether a file as large as the largest of ours can get one more page.

    SQLite has one error for a disk that is broken and for one where a quota or a limit of sizes ends.
    """
    sizes = [each.stat().st_size for each in path.parent.glob(f"{path.name}*")]
    try:
        with tempfile.TemporaryFile(dir=path.parent, buffering=0) as probe:
            probe.seek(max(sizes, default=0))
            probe.write(bytes(PAGE_BYTES))
    except OSError as error:
        return error.errno not in SHORTAGES
    return True


def create_private_file(path: Path) -> None:
    """Create the file for its owner alone. SQLite gives its two companions (-wal, -shm) the same mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        kind = LocalFileFull if error.errno in SHORTAGES else LocalFileError
        raise kind(f"{path} cannot be used: {error.strerror}.") from error


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to this version. Raises LocalFileError for a file that is not ours, or newer than this program."""
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        raise LocalFileError(f"SQLite {sqlite3.sqlite_version} is too old: {'.'.join(map(str, MIN_SQLITE))} is needed.")
    if read_version(connection, path) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(read_version(connection, path), len(MIGRATIONS)):
            for statement in split_statements(MIGRATIONS[number]):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return how many migrations the file has seen."""
    # Tables first: another process may commit its migration, which makes both, between two statements.
    tables, application, version = (
        connection.execute(sql).fetchone()[0]
        for sql in ("SELECT count(*) FROM sqlite_master", "PRAGMA application_id", "PRAGMA user_version")
    )
    if tables and application != APPLICATION_ID:
        raise LocalFileError(f"{path} belongs to another program.")
    if version > len(MIGRATIONS):
        raise LocalFileError(f"{path} was made by a newer version of memory_client: version {version} is not known.")
    return version


def split_statements(script: str) -> Iterator[str]:
    """Split a script at the ends of its statements: `executescript` would commit our transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


#: Never closed: closing them would take away the parent's locks.
_inherited: list[sqlite3.Connection] = []


def _forget_all() -> None:
    for database in list(_databases):
        database.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
