"""From a base backup and the archived log any moment comes back, beside the server that goes on."""

import shutil
import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.pitr import drill
from memory_site.operations.pitr.archive_check import find_damage
from memory_site.operations.pitr.base_check import check_base
from memory_site.operations.pitr.enabling import prepare_archive
from memory_site.operations.pitr.exclusive import exclusive_work
from memory_site.operations.pitr.facts import collect, get_pitr_facts
from memory_site.operations.pitr.problems import NotRecoverable, PitrProblem
from memory_site.operations.pitr.recovery_server import RECOVERY_PORT
from memory_site.operations.pitr.repository import Base, Repository
from memory_site.operations.pitr.status import build_status_rows
from memory_site.operations.pitr.tasks import drill_recovery


def change_file(base: Base, path: str, change) -> None:
    file = base.directory / path
    file.write_bytes(change(file.read_bytes()))


@pytest.fixture
def copied(cluster, tmp_path):
    """The base backup, to be damaged."""
    directory = tmp_path / "base"
    shutil.copytree(cluster.base.directory, directory)
    return replace(cluster.base, directory=directory)


def list_names(base: Base) -> list[str]:
    return [problem.path for problem in check_base(base)]


def test_40_flips_and_20_cuts_of_a_base_backup_are_found_and_named(cluster, copied):
    assert check_base(copied) == []
    paths = [path for path in copied.directory.rglob("*") if path.is_file() and path.stat().st_size]
    names = sorted(str(path.relative_to(copied.directory)) for path in paths if path.name != "backup_manifest")
    (segment,) = (name for name in names if name.startswith("pg_wal/"))
    chosen = [segment, "global/pg_control", *names[:: len(names) // 58]][:60]
    for number, name in enumerate(chosen):
        change_file(copied, name, partial(flip if number < 40 else cut, number=number))
    assert list_names(copied) == sorted(chosen)


def cut(data: bytes, number: int) -> bytes:
    return data[: len(data) * (number % 20) // 20]


def flip(data: bytes, number: int) -> bytes:
    """One of 40 bits, from the first byte to the last."""
    offset, bit = number % 40 * (len(data) - 1) // 39, number % 8
    return data[:offset] + bytes([data[offset] ^ 1 << bit]) + data[offset + 1 :]


def test_every_flip_and_cut_of_the_manifests_is_found(cluster, copied, tmp_path):
    """PostgreSQL's manifest has a checksum, ours a signature."""
    path = copied.directory / "backup_manifest"
    whole = path.read_bytes()
    changed = [*(flip(whole, number) for number in range(40)), *(cut(whole, number) for number in range(20))]
    unnoticed = []
    for number, data in enumerate(changed):
        path.write_bytes(data)
        if list_names(replace(copied, directory=only(path, tmp_path / str(number))))[:1] != ["backup_manifest"]:
            unnoticed.append(number)
    assert unnoticed == []


def only(path, directory):
    """A directory with the manifest alone, whose check is quick."""
    directory.mkdir()
    shutil.copy(path, directory)
    return directory


def test_each_mutation_of_a_base_backup_is_named(copied):
    """As in src/bin/pg_verifybackup/t/003_corruption.pl of PostgreSQL, without what concerns tablespaces."""
    wal = next((copied.directory / "pg_wal").glob("0*"))
    (copied.directory / "extra_file").touch()
    (copied.directory / "pg_xact/0000").unlink()
    change_file(copied, "global/pg_control", lambda data: data + b"x")
    change_file(copied, "PG_VERSION", lambda data: data[:-1])
    change_file(copied, "postgresql.auto.conf", lambda data: data.replace(b"#", b"*"))
    (copied.directory / "pg_hba.conf").unlink()
    (copied.directory / "pg_hba.conf").mkdir()
    (copied.directory / "pg_ident.conf").unlink()
    (copied.directory / "pg_ident.conf").symlink_to("/etc/passwd")
    wal.unlink()
    assert {problem.path: problem.problem for problem in check_base(copied)} == {
        "extra_file": "is in the backup, but not in its manifest",
        "pg_xact/0000": "is missing",
        "global/pg_control": "has 8,193 bytes instead of 8,192",
        "PG_VERSION": "has 2 bytes instead of 3",
        "postgresql.auto.conf": "is damaged: its SHA-256 is another one",
        "pg_hba.conf": "is no regular file",
        "pg_ident.conf": "is no regular file",
        f"pg_wal/{wal.name}": "is missing",
    }
    manifest = copied.directory / "backup_manifest"
    manifest.unlink()
    assert str(check_base(copied)[0]) == "backup_manifest cannot be read: No such file or directory"


def test_a_check_names_each_damaged_file(cluster, tmp_path):
    """Bits in the log, in a base backup and in its signed manifest: 40 of 40 flips and 20 of 20 cuts of that one."""
    cluster.archive_now()
    repository = Repository(tmp_path / "archive")
    shutil.copytree(cluster.archive, repository.path)
    assert list(find_damage(repository)) == []
    base, segment = repository.list_bases()[0], min(repository.list_stored().values())
    segment.write_bytes(flip(segment.read_bytes(), 17))
    change_file(base, "global/pg_control", partial(flip, number=20))
    wal, control = sorted(find_damage(repository), reverse=True)
    assert wal == f"wal/{segment.name} is damaged: its content is not what its name says"
    assert control == f"base/{base.name}/global/pg_control is damaged: its SHA-256 is another one"
    manifest = base.directory.with_name(f"{base.name}.json")
    whole = manifest.read_bytes()
    changed = [*(flip(whole, number) for number in range(40)), *(cut(whole, number) for number in range(20))]
    for data in changed:
        manifest.write_bytes(data)
        (sentence,) = repository.list_unreadable_bases()
        assert manifest.name in sentence


def test_one_recovery_at_a_time(cluster):
    busy = pytest.raises(AlreadyRunning, match="repeat this when it has ended")
    with exclusive_work(cluster.home), busy, exclusive_work(cluster.home):
        pass


def test_an_archive_of_another_database_is_refused(cluster):
    with pytest.raises(PitrProblem, match="is the archive of another database"):
        prepare_archive(cluster.home, cluster.archive, "42")


def test_a_base_backup_of_another_database_is_refused(cluster):
    foreign = replace(cluster.base, manifest=cluster.base.manifest | {"system_identifier": "42"})
    assert "not 42" in str(check_base(foreign)[0])


def test_a_base_backup_of_another_secret_key_is_not_recovered(cluster, settings):
    """What signed it may have written anything into it. With its own key it is used again."""
    current = cluster.archive_now()
    key, settings.SECRET_KEY = settings.SECRET_KEY, "of another site"
    with pytest.raises(NotRecoverable, match="signed with another SECRET_KEY, .*: use the SECRET_KEY of the site that"):
        cluster.recovery.plan(None, current)
    facts = collect(cluster.home, cluster.repository)
    assert facts.windows == [] and facts.base_due
    rows = build_status_rows(facts)
    assert any(row["item"] == "base" and "foreign: " in row["detail"] for row in rows)
    settings.SECRET_KEY = key
    assert not cluster.recovery.plan(None, current).window.base.foreign


def test_a_moment_between_two_writes_comes_back(cluster):
    cluster.execute("CREATE TABLE written (number integer)")
    between = cluster.execute("INSERT INTO written VALUES (1)")
    cluster.execute("INSERT INTO written VALUES (2)")
    with cluster.recovery.recovered_copy(cluster.plan(between)) as recovered:
        assert cluster.rows("SELECT number FROM written", RECOVERY_PORT) == [(1,)]
        assert cluster.rows("SELECT pg_is_in_recovery()", RECOVERY_PORT) == [(False,)]
        assert recovered.last_transaction_at <= between
    assert cluster.rows("SELECT number FROM written ORDER BY 1") == [(1,), (2,)]
    assert not list(cluster.home.path.glob("postgres.recovering-*"))


def test_a_drill_compares_every_table_while_the_site_writes(cluster, settings, monkeypatch):
    settings.HOME = cluster.home
    monkeypatch.setattr(drill, "LOCK_TIMEOUT", "60s")
    cluster.execute("CREATE TABLE busy (number bigserial, body text)")
    cluster.execute("INSERT INTO busy (body) SELECT 'x' FROM generate_series(1, 1001)")
    stop = threading.Event()
    writer = threading.Thread(target=write_until, args=(cluster, stop))
    writer.start()
    try:
        drill_recovery()  # as the worker does every week
    finally:
        stop.set()
        writer.join()
    result = get_pitr_facts().last_drill
    assert result["ok"], result["message"]
    assert result["message"] == "Every table is as it was at that time."
    assert result["rows"] > 1000
    assert cluster.rows("SELECT to_regclass('pitr_drill.rows')") == [(None,)]


def write_until(cluster, stop):
    with cluster.connect() as connection:
        while not stop.is_set():
            connection.execute("INSERT INTO busy (body) VALUES (repeat('x', 100))")
            connection.execute("UPDATE busy SET body = 'y' WHERE number % 7 = 0 AND body <> 'y'")


def test_times_that_the_archive_does_not_hold_are_refused(cluster):
    with pytest.raises(NotRecoverable, match="is before the end of the oldest base backup"):
        cluster.plan(cluster.base.written_at - timedelta(seconds=1))
