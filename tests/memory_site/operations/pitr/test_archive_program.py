"""The program that PostgreSQL calls for each segment, started as PostgreSQL starts it."""

import hashlib
import json
import os
import shlex
import struct
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from memory_site.embedded.wal_archive.program import (
    MB,
    SEGMENT_BYTES,
    DamagedFile,
    read_checked,
    read_start_time,
    unpack,
)
from memory_site.embedded.wal_archive.settings import build_command

ROOT = Path(__file__).resolve().parents[4]
NAME, SYSTEM = "000000010000000000000007", "7713917801925595564"
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


class Place:
    """A database's directory and an archive, as the program sees them."""

    def __init__(self, data: Path, archive: Path) -> None:
        self.data, self.archive = data, archive
        self.wal = archive / "wal"
        self.wal.mkdir(parents=True)
        (data / "pg_wal" / "archive_status").mkdir(parents=True)
        self.configure()

    def configure(self, **changes: object) -> None:
        settings = {"enabled": True, "archive": str(self.archive), "system_identifier": SYSTEM}
        settings |= {"max_waiting_bytes": 4 << 30, "max_wal_bytes": 0} | changes
        (self.data / "pitr.json").write_text(json.dumps(settings))

    def write(self, name: str = NAME, seed: int = 1, system: str = SYSTEM) -> Path:
        """A segment that begins like PostgreSQL's, and that is empty behind 64 KB, with its mark that it waits."""
        path = self.data / "pg_wal" / name
        header = struct.pack("=HHIQI4xQ", 0xD118, 2, 1, 7 * SEGMENT_BYTES, 0, int(system))
        noise = hashlib.shake_128(bytes([seed])).digest(64 * 1024)
        path.write_bytes((header + noise).ljust(SEGMENT_BYTES, b"\0"))
        (self.data / "pg_wal" / "archive_status" / f"{name}.ready").touch()
        return path

    def run(self, verb: str, *operands: str) -> subprocess.CompletedProcess:
        argv = [*shlex.split(build_command(verb, self.data / "pitr.json")), *operands]
        return subprocess.run(argv, cwd=self.data, capture_output=True, text=True)

    def store(self, name: str = NAME) -> subprocess.CompletedProcess:
        return self.run("store", f"pg_wal/{name}", name)

    @property
    def gaps(self) -> list[dict]:
        path = self.data / "pitr-gaps.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def stored(self) -> list[str]:
        return sorted(os.listdir(self.wal))


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "data", tmp_path / "archive")


@contextmanager
def mounted(directory: Path, *options: str):
    """A small file system of its own; skip where nothing can be mounted."""
    directory.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", *options, str(directory)], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def test_a_segment_is_archived_under_its_hash_and_comes_back(place):
    source = place.write()
    assert place.store().returncode == 0
    (name,) = place.stored
    stored = place.wal / name
    assert name == f"{NAME}-{hashlib.sha256(stored.read_bytes()).hexdigest()}.gz"
    assert stored.stat().st_size < 200 * 1024  # the empty rest of a segment takes no space
    assert unpack(stored) == source.read_bytes()
    place.configure(live_wal=None)
    assert place.run("fetch", NAME, "back").returncode == 0
    assert (place.data / "back").read_bytes() == source.read_bytes()


def test_archiving_again_succeeds_and_another_content_is_refused(place):
    place.write()
    assert [place.store().returncode, place.store().returncode] == [0, 0]
    assert len(place.stored) == 1
    place.write(seed=2)
    again = place.store()
    assert again.returncode == 1
    assert f"{NAME} was archived before with another content" in again.stderr
    assert len(place.stored) == 1


def test_a_damaged_segment_makes_room_for_the_whole_one(place):
    place.write()
    place.store()
    stored = place.wal / place.stored[0]
    stored.write_bytes(stored.read_bytes()[:-1])
    assert place.store().returncode == 0
    assert len(unpack(stored)) == SEGMENT_BYTES
    assert (place.wal / f"{stored.name}.damaged").exists()


def test_a_segment_of_another_database_is_refused(place):
    place.write(system="42")
    refused = place.store()
    assert refused.returncode == 1
    assert f"is of the database 42, and this is the archive of {SYSTEM}" in refused.stderr
    assert place.stored == []


def test_nothing_is_archived_when_it_is_switched_off(place):
    place.write()
    place.configure(enabled=False)
    assert place.store().returncode == 0
    assert place.stored == []


def test_40_flips_and_20_cuts_of_a_segment_are_found(place):
    place.write()
    place.store()
    stored = place.wal / place.stored[0]
    whole = stored.read_bytes()
    found = 0
    for number in range(40):
        offset = number * (len(whole) - 1) // 39
        stored.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 << number % 8]) + whole[offset + 1 :])
        found += is_damaged(stored)
    for number in range(20):
        stored.write_bytes(whole[: number * len(whole) // 20])
        found += is_damaged(stored)
    assert found == 60


def is_damaged(stored: Path) -> bool:
    try:
        read_checked(stored)
    except DamagedFile as error:
        return stored.name in str(error)
    return False


def test_a_damaged_segment_is_not_the_end_of_the_log(place):
    """PostgreSQL would stop there and open the database, as if nothing followed."""
    place.write()
    place.store()
    stored = place.wal / place.stored[0]
    stored.write_bytes(b"x")
    place.configure(live_wal=None)
    damaged, missing = place.run("fetch", NAME, "back"), place.run("fetch", NAME[:-1] + "8", "back")
    assert (damaged.returncode, missing.returncode) == (200, 1)
    assert stored.name in damaged.stderr
    place.configure(live_wal=str(place.data / "pg_wal"))
    assert place.run("fetch", NAME, "back").returncode == 0


def test_an_archive_that_is_away_is_not_the_end_of_the_log(place):
    place.configure(live_wal=None, archive="/nowhere")
    assert place.run("fetch", NAME, "back").returncode == 200


def test_what_exceeds_the_limit_is_given_up_and_noted(place):
    """While less waits, PostgreSQL keeps the log; nothing is lost by an archive that is away for a while."""
    place.wal.rmdir()
    place.write()
    kept = place.store()
    assert kept.returncode == 1
    assert "No such file or directory" in kept.stderr
    assert place.gaps == []
    place.configure(max_waiting_bytes=16 * MB)
    place.write("000000010000000000000008")
    given_up = place.store()
    assert given_up.returncode == 0
    assert "recovery cannot pass it" in given_up.stderr
    (gap,) = place.gaps
    assert gap["segment"] == NAME
    assert "32 MB wait, and the limit is 16 MB" in gap["reason"]


HANG = """
import sys, time
from memory_site.embedded.wal_archive import program
program.ARCHIVE_TIMEOUT_SECONDS = 0.2
program.store = lambda *_: time.sleep(60)
sys.exit(program.main(sys.argv[1:]))
"""


def test_an_archive_that_hangs_is_given_up_and_waited_for_by_one_process_only(place):
    """As a network file system does; the hanging child here can be killed, one of the system could not."""
    place.write()
    place.configure(max_waiting_bytes=1)
    argv = [sys.executable, "-c", HANG, "store", str(place.data / "pitr.json"), f"pg_wal/{NAME}", NAME]
    hung = subprocess.run(argv, cwd=place.data, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert f"{NAME} is given up, recovery cannot pass it: the archive does not answer" in hung.stderr
    (place.data / "pitr-stuck.pid").write_text(f"{os.getpid()} {read_start_time(os.getpid())}")  # it hangs still
    again = place.store()
    assert "an earlier attempt still waits for the archive" in again.stderr
    assert (again.returncode, len(place.gaps), place.stored) == (0, 2, [])
    (place.data / "pitr-stuck.pid").write_text(f"{os.getpid()} 1")  # another process has its number
    assert place.store().returncode == 0
    assert len(place.stored) == 1


@only_root
def test_a_read_only_archive_keeps_the_log_and_then_gives_up(tmp_path):
    with mounted(tmp_path / "archive", "-t", "tmpfs", "-o", "size=40m", "none") as directory:
        place = Place(tmp_path / "data", directory)
        place.write()
        subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
        kept = place.store()
        assert kept.returncode == 1
        assert "Read-only file system" in kept.stderr
        place.configure(max_waiting_bytes=1)
        assert place.store().returncode == 0
        assert len(place.gaps) == 1
        subprocess.run(["mount", "-o", "remount,rw", str(directory)], check=True)
        place.configure()
        assert place.store().returncode == 0
        assert len(place.stored) == 1


@only_root
def test_the_archive_leaves_space_on_the_disk_of_the_database(tmp_path):
    """It is on the same disk by default, and must not be what fills it."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=40m", "none") as disk:
        place = Place(disk / "data", disk / "archive")
        place.write()
        (disk / "others").write_bytes(b"x" * (40 * MB - 16 * MB - MB))
        full = place.store()
        assert "less than 2 MB are free on the disk of the database" in full.stderr
        assert full.returncode == 0  # 16 MB wait, and less is free: PostgreSQL must go on
        assert place.gaps
