"""Opening of a DuckDB file. DuckDB locks it: one process may write, or several may read."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

#: The file is untrusted: it must not access other files or load extensions.
DUCKDB_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # New files can be read by every DuckDB since 1.0; existing files keep their format.
    "storage_compatibility_version": "v1.0.0",
}
LOCK_RETRY_SECONDS = 0.2
LOCKED_ERROR_TEXT, NEWER_VERSION_ERROR_TEXT, NOT_DUCKDB_ERROR_TEXT = (
    "Could not set lock",
    "but we can only read",
    "not a valid DuckDB database file",
)


class UnusableFile(Exception):
    """The file cannot be used; the message is a sentence that gives the reason."""


@contextmanager
def open_database(
    path: Path, *, reading: bool, timeout: float, report: Callable[[str], None], missing_ok: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the file for the duration of the block, waiting up to `timeout` seconds while another process locks it.

    With `missing_ok`, a missing file to read counts as empty. Raises UnusableFile, also for errors of DuckDB inside the
    block.
    """
    if path.exists() and not path.is_file():
        raise UnusableFile(f"{path} is not a file.")
    needed = path if reading and not missing_ok else path.parent
    if not needed.exists():
        raise UnusableFile(f"There is no {needed}.")
    try:
        with (
            duckdb.connect()
            if reading and not path.exists()
            else connect_with_retry(path, reading, timeout, report) as file
        ):
            file.execute("SET TimeZone = 'UTC'")
            yield file
    except duckdb.Error as error:
        raise UnusableFile(describe_duckdb_error(path, error, timeout)) from None


def connect_with_retry(
    path: Path, reading: bool, timeout: float, report: Callable[[str], None]
) -> duckdb.DuckDBPyConnection:
    """Connect, waiting up to `timeout` seconds for the lock. Raises duckdb.Error."""
    deadline, reported = time.monotonic() + timeout, False
    while True:
        try:
            return duckdb.connect(str(path.absolute()), read_only=reading, config=DUCKDB_CONFIG)
        except duckdb.IOException as error:
            if LOCKED_ERROR_TEXT not in str(error) or time.monotonic() >= deadline:
                raise
        if not reported:
            report(f"Another process has locked {path}; waiting up to {timeout:g} s for it.")
        reported = True
        time.sleep(LOCK_RETRY_SECONDS)


def describe_duckdb_error(path: Path, error: duckdb.Error, timeout: float) -> str:
    message = str(error)
    if LOCKED_ERROR_TEXT in message:
        return f"{path} is locked by another process, which did not release it within {timeout:g} s."
    if NEWER_VERSION_ERROR_TEXT in message:
        return f"{path} was written by a newer DuckDB than the installed one ({duckdb.__version__})."
    if NOT_DUCKDB_ERROR_TEXT in message:
        return f"{path} is not a DuckDB file."
    return f"{path} cannot be used: {message.strip().splitlines()[0][:300]}"
