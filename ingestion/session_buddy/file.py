"""A DuckDB file, and whoever else holds it: one process may write to it, or many may read."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

#: Of a file nothing is believed: it has nothing to read elsewhere, and nothing to load.
DUCKDB_CONFIG = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # Files made here can be read by every release since 1.0; an older file stays as it is.
    "storage_compatibility_version": "v1.0.0",
}
LOCK_RETRY_SECONDS = 0.2
LOCKED_ERROR_TEXT, NEWER_VERSION_ERROR_TEXT, NOT_DUCKDB_ERROR_TEXT = (
    "Could not set lock",
    "but we can only read",
    "not a valid DuckDB database file",
)


class UnusableFile(Exception):
    """The file cannot be used; the message is a sentence that says why."""


@contextmanager
def open_database(
    path: Path, *, reading: bool, patience: float, tell: Callable[[str], None], missing_ok: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file, ours for as long as the block lasts. Waits `patience` seconds for one that is held by somebody else.
    One to read that is missing may count as empty. Raises Unusable, also for what goes wrong inside."""
    if path.exists() and not path.is_file():
        raise UnusableFile(f"{path} is not a file.")
    needed = path if reading and not missing_ok else path.parent
    if not needed.exists():
        raise UnusableFile(f"There is no {needed}.")
    try:
        with (
            duckdb.connect()
            if reading and not path.exists()
            else connect_with_retry(path, reading, patience, tell) as file
        ):
            file.execute("SET TimeZone = 'UTC'")
            yield file
    except duckdb.Error as error:
        raise UnusableFile(describe_duckdb_error(path, error, patience)) from None


def connect_with_retry(
    path: Path, reading: bool, patience: float, tell: Callable[[str], None]
) -> duckdb.DuckDBPyConnection:
    """Raises duckdb.Error."""
    until, told = time.monotonic() + patience, False
    while True:
        try:
            return duckdb.connect(str(path.absolute()), read_only=reading, config=DUCKDB_CONFIG)
        except duckdb.IOException as error:
            if LOCKED_ERROR_TEXT not in str(error) or time.monotonic() >= until:
                raise
        if not told:
            tell(f"Another process holds {path}; waiting up to {patience:g} s for it.")
        told = True
        time.sleep(LOCK_RETRY_SECONDS)


def describe_duckdb_error(path: Path, error: duckdb.Error, patience: float) -> str:
    said = str(error)
    if LOCKED_ERROR_TEXT in said:
        return f"{path} is held by another process, which did not let go of it within {patience:g} s."
    if NEWER_VERSION_ERROR_TEXT in said:
        return f"{path} was written by a newer DuckDB than the one that is installed here ({duckdb.__version__})."
    if NOT_DUCKDB_ERROR_TEXT in said:
        return f"{path} is not a DuckDB file."
    return f"{path} cannot be used: {said.strip().splitlines()[0][:300]}"
