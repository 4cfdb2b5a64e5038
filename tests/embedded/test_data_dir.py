"""The data directory: owner, permissions, secrets and locks."""

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memory_site.embedded.data_dir import (
    LAYOUT_MARKER,
    DataDirectory,
    DataDirectoryInUse,
    ForeignDirectory,
    IncompatibleLayout,
    UnsafeSocketDirectory,
    UnusableDataDirectory,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another user")


def get_mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def start_python(code, *arguments, **options):
    """A process of its own, for what has to be done by another one."""
    argv = [
        sys.executable,
        "-c",
        f"import sys\nfrom memory_site.embedded.data_dir import DataDirectory\n{code}",
        *arguments,
    ]
    return subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE, **options)


def test_constructor_creates_no_files(home):
    assert home.broker_url.startswith("redis+socket://")
    assert not home.path.exists()


def test_directory_is_private(home):
    home.prepare()
    assert {get_mode(path) for path in (home.path, *filter(Path.is_dir, home.path.iterdir()))} == {0o700}


def test_existing_empty_directory_becomes_private(directory):
    (directory / "home").mkdir(mode=0o755)
    DataDirectory(directory / "home").prepare()
    assert get_mode(directory / "home") == 0o700


def test_parent_directories_keep_their_modes(directory):
    above = directory / "above"
    above.mkdir(mode=0o750)
    DataDirectory(above / "home").prepare()
    assert (get_mode(directory), get_mode(above)) == (0o700, 0o750)


def test_directory_with_other_files_is_refused_and_unchanged(directory):
    (directory / "thesis.txt").touch()
    before = get_mode(directory), sorted(directory.iterdir())
    with pytest.raises(ForeignDirectory, match=f"{directory} holds files that are not Memory Site's"):
        DataDirectory(directory).prepare()
    assert (get_mode(directory), sorted(directory.iterdir())) == before


def test_fresh_volume_is_accepted(directory):
    (directory / "lost+found").mkdir()
    DataDirectory(directory).prepare()
    assert (directory / LAYOUT_MARKER).exists()


def test_directory_of_another_layout_is_refused(directory):
    (directory / "memory-site-layout-99").touch()
    with pytest.raises(IncompatibleLayout, match="memory-site-layout-99"):
        DataDirectory(directory).prepare()


def test_file_is_refused_as_directory(directory):
    (directory / "home").touch()
    with pytest.raises(UnusableDataDirectory, match="cannot be used as data directory"):
        DataDirectory(directory / "home").prepare()


def test_secret_is_stable(home):
    secret = home.secret("django")
    assert len(secret) >= 43
    assert set(secret) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert DataDirectory(home.path).secret("django") == secret != home.secret("other")
    assert get_mode(home.path / "secrets" / "django") == 0o600


def test_concurrent_processes_get_the_same_secret(home):
    code = "sys.stdin.read(1); print(DataDirectory(sys.argv[1]).secret('django'), end='')"
    racers = [start_python(code, str(home.path)) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda racer: racer.communicate("!")[0], racers))
    assert set(answers) == {home.secret("django")}


def test_partly_written_secret_is_replaced(home):
    home.prepare()
    (home.path / "secrets" / ".django.draft").write_text("half")
    assert len(home.secret("django")) >= 43


def test_sockets_move_to_a_short_directory_when_the_path_is_long(directory):
    home = DataDirectory(directory / ("long" * 25))
    home.prepare()
    assert home.sockets.parent == Path("/tmp")
    assert len(os.fsencode(home.sockets / ".s.PGSQL.5432")) < 100
    assert get_mode(home.sockets) == 0o700
    assert DataDirectory(home.path).database["HOST"] == str(home.sockets)
    home.sockets.rmdir()


@pytest.mark.parametrize("plant", [lambda path: path.symlink_to("/"), lambda path: path.mkdir(mode=0o755)])
def test_shared_socket_directory_is_refused(directory, plant):
    home = DataDirectory(directory / ("long" * 25))
    plant(home.sockets)
    try:
        with pytest.raises(UnsafeSocketDirectory, match="belongs to someone else or is open to others"):
            home.prepare()
    finally:
        home.sockets.unlink() if home.sockets.is_symlink() else home.sockets.rmdir()


def test_second_lock_names_the_holder(home):
    with (
        home.lock("http://127.0.0.1:8000"),
        pytest.raises(DataDirectoryInUse) as refusal,
        DataDirectory(home.path).lock(),
    ):
        pass
    assert str(refusal.value) == f"{home.path} is already served by process {os.getpid()} at http://127.0.0.1:8000."


def test_released_directory_can_be_locked_again(home):
    for _ in range(2):
        with home.lock():
            assert (home.path / "lock").exists()


def test_killed_process_releases_its_lock(home):
    code = "with DataDirectory(sys.argv[1]).lock('http://x'): print('held', flush=True); sys.stdin.read()"
    holder = start_python(code, str(home.path))
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DataDirectoryInUse, match=f"process {holder.pid}"), home.lock():
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with home.lock("http://y"):
        assert f"{os.getpid()}" in (home.path / "lock").read_text()


@as_root
def test_servers_of_root_run_as_nobody(home):
    home.prepare()
    assert home.owner.uid not in (0, None)
    assert home.sockets.stat().st_uid == home.path.stat().st_uid == home.owner.uid
    assert (home.path / "secrets").stat().st_uid == 0


@as_root
def test_root_gives_new_files_to_the_owner_of_the_directory(directory):
    (directory / "home").mkdir()
    os.chown(directory / "home", 1234, 1234)
    home = DataDirectory(directory / "home")
    home.secret("django")
    with home.lock():
        pass
    owners = {path.stat().st_uid for path in home.path.rglob("*")}
    assert owners == {1234}


@as_root
def test_root_does_not_chown_the_target_of_a_link(directory):
    (directory / "precious").mkdir()
    (directory / "home").mkdir()
    (directory / "home" / LAYOUT_MARKER).touch()
    (directory / "home" / "secrets").symlink_to(directory / "precious")
    os.chown(directory / "home", 1234, 1234)
    DataDirectory(directory / "home").secret("django")
    assert (directory / "precious").stat().st_uid == 0
