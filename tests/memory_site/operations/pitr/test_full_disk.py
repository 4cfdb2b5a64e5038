"""The disk of the log is small and the archive read-only: PostgreSQL goes on, and the gap is named and healed."""

import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from memory_site.embedded.postgres import MB, Postgres
from memory_site.operations.pitr.base_check import check_base
from memory_site.operations.pitr.facts import get_pitr_facts
from memory_site.operations.selftest.scratch_site import wait_until
from tests.memory_site.operations.pitr.conftest import Cluster

#: The log that is written is twice what the disk has room for beside the database.
DISK_MB, WRITTEN_SEGMENTS = 240, 20


@contextmanager
def small_disk(directory: Path, megabytes: int):
    directory.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(directory)]
    if subprocess.run(argv, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, where it is allowed")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@pytest.fixture
def small(cluster, tmp_path, monkeypatch):
    """A copy of the cluster on a small disk, with an archive of its own that is read-only."""
    settings = Postgres._settings
    monkeypatch.setattr(
        Postgres, "_settings", lambda self: [*settings(self), "--max_wal_size=64MB", "--min_wal_size=32MB"]
    )
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", DISK_MB))
        archive = stack.enter_context(small_disk(tmp_path / "archive", DISK_MB))
        small = Cluster(disk, archive / "pitr")
        small.home.prepare()
        shutil.copytree(cluster.home.path / "secrets", small.home.path / "secrets", dirs_exist_ok=True)
        shutil.copytree(cluster.base.directory, small.home.path / "postgres")
        for path in (small.home.path / "postgres", *(small.home.path / "postgres").rglob("*")):
            small.home.chown_to_servers(path)
        small.enable(cluster.settings.system_identifier, max_wal_bytes=64 * MB)
        subprocess.run(["mount", "-o", "remount,ro", str(archive)], check=True)
        small.server.start()
        try:
            yield small
        finally:
            small.server.stop()


def test_a_full_log_never_stops_the_database(small):
    small.execute("CREATE TABLE written (number integer)")
    for number in range(WRITTEN_SEGMENTS):
        with small.connect() as connection:
            connection.execute("INSERT INTO written VALUES (%s)", [number])
            connection.execute(f"SELECT pg_logical_emit_message(true, 'load', repeat('x', {15 * MB}))")
            connection.execute("SELECT pg_switch_wal()")
        wait_until(lambda: count_waiting(small) < 6, 60, "the archive's program has given up segments")
    assert small.rows("SELECT count(*) FROM written") == [(WRITTEN_SEGMENTS,)]
    facts = get_pitr_facts(small.home)
    assert facts.wal_bytes < DISK_MB * MB
    assert facts.base_due
    gaps = (small.home.path / "pitr-gaps.jsonl").read_text()
    assert "Read-only file system" in gaps
    assert "recovery cannot pass it" in (small.home.logs / "postgres.log").read_text()
    heal(small)


def count_waiting(small: Cluster) -> int:
    return len(list((small.home.path / "postgres" / "pg_wal" / "archive_status").glob("*.ready")))


def heal(small: Cluster) -> None:
    """Once the archive can be written again, a base backup opens the times from then on."""
    subprocess.run(["mount", "-o", "remount,rw", str(small.archive.parent)], check=True)
    small.archive_now()
    assert check_base(small.take_base()) == []
    facts = get_pitr_facts(small.home)
    assert facts.base_due is None
    assert facts.lost_since_base == 0
    assert small.plan(None).window.until is None
