"""Session-Buddy files that are missing, damaged, foreign or locked."""

import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.core.management import CommandError

from ingestion.session_buddy import file
from tests.ingestion.session_buddy.files import (
    NEWER_SCHEMA,
    PROJECT_TABLE,
    build_row,
    create_file,
    create_older_file,
    duckdb,
    load_all_rows,
    query_file,
)

pytestmark = pytest.mark.django_db


def create_newer_file(path) -> None:
    """Create a file of a future storage version. The error message of DuckDB has the valid checksum."""
    create_older_file(path)
    data = bytearray(path.read_bytes())
    data[12:20] = (100_000).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(duckdb.Error, match="computed checksum") as error:
        duckdb.connect(str(path), read_only=True)
    checksum = int(str(error.value).split("computed checksum ")[1].split()[0])
    path.write_bytes(checksum.to_bytes(8, "little") + data[8:])


def create_damaged_file(path) -> None:
    create_older_file(path, **{PROJECT_TABLE: [build_row("r1", "A note " * 14_000)]})
    path.write_bytes(path.read_bytes()[:40_000])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: None, "There is no "),
        (lambda path: path.mkdir(), "is not a file"),
        (lambda path: path.write_bytes(b"hello" * 5_000), "is not a DuckDB file"),
        (lambda path: path.touch(), "is not a DuckDB file"),
        (create_newer_file, "was written by a newer DuckDB"),
        (create_damaged_file, "cannot be used"),
        (lambda path: create_file(path, "CREATE TABLE other (id INTEGER)"), "has no reflections or conversations"),
        (
            lambda path: create_file(path, f"CREATE TABLE {PROJECT_TABLE} (name INTEGER)"),
            "has no reflections or conversations",
        ),
    ],
    ids=["missing", "directory", "text", "empty", "newer", "damaged", "other tables", "other columns"],
)
def test_an_unusable_file_to_import_is_reported_in_one_sentence(run, path, spoil, reason):
    spoil(path)
    with pytest.raises(CommandError, match=reason) as error:
        run("import", path)
    assert error.value.returncode == 1
    assert "\n" not in str(error.value)
    assert load_all_rows() == []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.mkdir(), "is not a file"),
        (lambda path: path.write_bytes(b"hello" * 5_000), "is not a DuckDB file"),
        (create_newer_file, "was written by a newer DuckDB"),
    ],
    ids=["directory", "text", "newer"],
)
def test_an_unusable_file_to_export_to_stays_unchanged(run, insight, path, spoil, reason):
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(CommandError, match=reason) as error:
        run("export", path)
    assert error.value.returncode == 1
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_table_with_an_unknown_required_column_stays_unchanged(run, insight, path):
    create_file(path, NEWER_SCHEMA.replace("memory_tier", "need TEXT NOT NULL, memory_tier"))
    said = "SELECT table_name, column_name FROM duckdb_columns() ORDER BY ALL"
    before = query_file(path, said)
    with pytest.raises(CommandError, match="cannot be used: Constraint Error: NOT NULL") as error:
        run("export", path)
    assert error.value.returncode == 1
    assert (query_file(path, said), query_file(path, "SELECT * FROM reflections_v2")) == (before, [])


def test_a_missing_folder_is_reported(run, insight, tmp_path):
    with pytest.raises(CommandError, match="There is no .*nowhere"):
        run("export", tmp_path / "nowhere" / "file")


@contextmanager
def lock_in_other_process(path):
    """Hold the file open for writing in another process until its stdin is closed."""
    program = f"import duckdb, sys; file = duckdb.connect({str(path)!r}); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("action", ["import", "export"])
def test_a_locked_file_is_waited_for(run, filled, monkeypatch, action):
    with lock_in_other_process(filled) as holder:
        real = file.time
        waits = SimpleNamespace(monotonic=real.monotonic, sleep=lambda seconds: holder.communicate())
        monkeypatch.setattr(file, "time", waits)
        _, stderr = run(action, filled, "--wait", "60")
    assert "Another process has locked" in stderr


@pytest.mark.parametrize("action", ["import", "export"])
def test_a_file_that_stays_locked_is_reported_after_the_timeout(run, filled, insight, action):
    before = load_all_rows()
    with (
        lock_in_other_process(filled),
        pytest.raises(CommandError, match="locked by another process, .* within 0.3 s") as error,
    ):
        run(action, filled, "--wait", "0.3")
    assert error.value.returncode == 1
    assert load_all_rows() == before
