"""A backup is there completely, or nothing of it counts."""

import os
import shutil
import signal
import subprocess
import time
import warnings

import psutil
import pytest
from django.conf import settings as site
from django.db import connection

from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.leases.leases import hold_lease
from memory_site.operations.backups import make, programs
from memory_site.operations.backups.database import connect
from memory_site.operations.backups.folder import find_stored, list_stored
from memory_site.operations.backups.make import LEASE, make_backup
from memory_site.operations.backups.problems import BackupProblem, BackupsNotConfigured, UnknownBackup
from memory_site.operations.backups.rows import INTERRUPTED, is_interrupted, list_backups, sync_rows
from memory_site.operations.backups.space import NoSpace
from memory_site.operations.models import Backup
from tests.stack.stack import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def kill_backup(moment: float) -> None:
    """Make a backup in another process, which kills itself when so much is done; beyond 1 before the manifest."""
    connection.close()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # no thread is at work here
        pid = os.fork()
    if pid == 0:
        make_and_end(moment)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def make_and_end(moment: float) -> None:
    def end(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        if moment > 1:
            make.write_manifest = end
        make_backup(on_progress=lambda share, what: end() if share >= moment else None)
    finally:
        os._exit(1)


def find_pg_dumps() -> list[psutil.Process]:
    found = [each for each in psutil.process_iter(["cmdline"]) if str(site.BACKUP_DIR) in str(each.info["cmdline"])]
    return [each for each in found if "pg_dump" in each.info["cmdline"][0]]


@pytest.mark.parametrize(("moment", "left"), [(0.0, ".partial"), (0.9, ".partial"), (2.0, ".dump")])
def test_of_a_killed_backup_nothing_counts_and_the_next_one_cleans_up(folder, moment, left):
    kill_backup(moment)
    assert [path.suffix for path in folder.iterdir()] == [left]
    wait_until(lambda: not find_pg_dumps(), 60, "pg_dump has ended with its parent")
    row = Backup.objects.get()
    assert (row.state, is_interrupted(row)) == ("running", True)
    assert list_stored() == []
    assert [(each["state"], each["message"]) for each in list_backups(folder)] == [("bad", INTERRUPTED)]
    with pytest.raises(UnknownBackup):
        find_stored("latest")

    (folder / "of-the-operator.dump").write_text("stays")
    stored = make_backup()
    (folder / "erasures.jsonl").unlink(missing_ok=True)  # no part of a backup
    names = {"of-the-operator.dump", stored.path.name, stored.manifest_path.name}
    assert {path.name for path in folder.iterdir()} == names
    assert stored.state == "written"
    assert sorted(Backup.objects.values_list("state", "message")) == [("bad", INTERRUPTED), ("written", "")]


def test_of_two_at_once_the_second_says_so(folder):
    with hold_lease(LEASE), pytest.raises(AlreadyRunning, match="Another process makes, verifies or rotates backups"):
        make_backup()
    assert list(folder.iterdir()) == []


def test_a_failed_and_an_interrupted_backup_leave_no_file(folder, monkeypatch):
    def stop(share: float, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_backup(on_progress=stop)
    monkeypatch.setattr(make, "COMPRESSION_LEVEL", 77)
    with pytest.raises(BackupProblem, match="pg_dump failed: .*compression"):
        make_backup()
    assert list(folder.iterdir()) == []
    assert {row.state for row in Backup.objects.all()} == {"bad"}
    assert find_pg_dumps() == []


def test_a_lease_that_was_lost_publishes_nothing(folder, monkeypatch):
    def lose(share: float, what: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE leases_lease SET token = gen_random_uuid() WHERE name = %s", [LEASE])

    with pytest.raises(AlreadyRunning):
        make_backup(on_progress=lose)
    assert list(folder.iterdir()) == []


def test_rows_stored_meanwhile_are_in_neither_the_file_nor_the_counts(folder, django_user_model, monkeypatch):
    def store(share: float, what: str) -> None:
        django_user_model.objects.create(username=f"{time.monotonic_ns()}")

    stored = make_backup(on_progress=store)
    assert django_user_model.objects.count() > 1
    assert stored.manifest["tables"]["public.auth_user"] == {"rows": 0, "hash": "0"}
    program = programs.find_program("pg_restore", 18)
    argv = [program, "--data-only", "--table=auth_user", "--file=-", str(stored.path)]
    rows = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "COPY public.auth_user" in rows and "pbkdf2" not in rows and rows.count("\n\\.\n") == 1
    assert rows.partition("FROM stdin;\n")[2].startswith("\\.")


def test_the_files_are_for_the_owner_alone(folder):
    folder.rmdir()
    stored = make_backup(pinned=True)
    modes = {path.stat().st_mode & 0o777 for path in (stored.path, stored.manifest_path)}
    assert (folder.stat().st_mode & 0o777, modes, stored.pinned) == (0o700, {0o600}, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_belongs_to_the_user_of_the_folder(folder):
    os.chown(folder, 4711, 4712)
    stored = make_backup()
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in (stored.path, stored.manifest_path)}
    assert owners == {(4711, 4712)}


def test_a_wiped_database_reads_its_backups_again_from_the_folder(folder):
    stored = make_backup()
    Backup.objects.all().delete()
    sync_rows(folder)
    row = Backup.objects.get()
    assert (row.name, row.state, row.size_bytes) == (stored.name, "written", stored.size_bytes)
    assert row.manifest["tables"]["public.auth_user"]["rows"] == 0
    stored.delete()
    sync_rows(folder)
    assert not Backup.objects.exists()


def test_without_a_directory_there_is_one_sentence(settings):
    settings.BACKUP_DIR = None
    with pytest.raises(BackupsNotConfigured, match="name one in BACKUP_DIR"):
        make_backup()


def test_a_directory_that_cannot_be_made_is_said(settings, tmp_path):
    (tmp_path / "file").touch()
    settings.BACKUP_DIR = tmp_path / "file" / "backups"
    with pytest.raises(BackupProblem, match="cannot be used for backups: Not a directory"):
        make_backup()


def test_a_backup_leaves_the_disk_the_room_that_health_wants(folder, monkeypatch):
    nearly_full = shutil._ntuple_diskusage(100 * 2**30, 95 * 2**30, 5 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: nearly_full)
    with pytest.raises(NoSpace, match="There is no room for a backup in .* of 5.0 GiB that are free 5.0 GiB stay free"):
        make_backup()
    assert list(folder.iterdir()) == []
    assert Backup.objects.get().message.startswith("There is no room for a backup")


def test_a_pooler_needs_a_direct_address(folder, settings):
    settings.DATABASE_POOLER = "transaction"
    with pytest.raises(BackupProblem, match="name the PostgreSQL server in BACKUP_DATABASE_URL"):
        make_backup()


def test_programs_older_than_the_server_are_said(monkeypatch):
    assert programs.read_version(programs.find_program("pg_dump", 18)) >= 18
    with pytest.raises(BackupProblem, match="is older than the server: install the client programs of PostgreSQL 99"):
        programs.find_program("pg_dump", 99)
    monkeypatch.setattr(programs, "list_candidates", lambda name: [])
    with pytest.raises(BackupProblem, match="pg_dump was not found: install the client programs of PostgreSQL 18"):
        programs.find_program("pg_dump", 18)


def test_errors_that_are_harmless_are_passed_over_and_no_others(tmp_path):
    def run(script: str, harmless: str | None) -> None:
        with programs.run_program(["/bin/sh", "-c", script], {}, low_priority=False) as running:
            running.finish(harmless)

    harmless, other = "echo 'pg_restore: error: harmless' >&2;", "echo 'pg_restore: error: serious' >&2;"
    run(f"{harmless} {harmless} exit 1", "harmless")
    run("echo 'pg_restore: warning: x' >&2; exit 0", None)
    for script, allowed, reason in (
        (f"{harmless} exit 1", None, "harmless"),
        (f"{harmless} {other} exit 1", "harmless", "serious"),
        (f"{harmless} exit 2", "harmless", "exit code 2"),
        (f"{harmless} kill -9 $$", "harmless", "exit code -9"),
        ("exit 1", "harmless", "exit code 1"),
    ):
        with pytest.raises(programs.ProgramFailed, match=reason):
            run(script, allowed)


def test_the_oldest_program_that_fits_the_server_is_chosen(monkeypatch):
    versions = {"/new/pg_dump": 18, "/old/pg_dump": 15, "/same/pg_dump": 16}
    monkeypatch.setattr(programs, "list_candidates", lambda name: list(versions))
    monkeypatch.setattr(programs, "read_version", versions.__getitem__)
    assert [programs.find_program("pg_dump", version) for version in (15, 16, 17)] == [
        "/old/pg_dump",
        "/same/pg_dump",
        "/new/pg_dump",
    ]


def test_the_snapshot_outlives_the_time_limits_of_the_site():
    limits = {"idle_in_transaction_session_timeout": "1h", "statement_timeout": "1h"}
    with connect(**limits) as opened, opened.transaction():
        assert [opened.execute(f"SHOW {name}").fetchone() for name in limits] == [("1h",)] * 2
        make.prepare_session(opened, parallel=False)
        assert [opened.execute(f"SHOW {name}").fetchone() for name in limits] == [("0",)] * 2
