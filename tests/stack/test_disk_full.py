"""The disk of the embedded database fills up: a tmpfs whose size changes under the running site."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from memory_site.core.disk_space import DISK_FULL_DETAIL, RESERVED_BYTES
from tests.stack.stack import Stack, wait_until

ROOM_BYTES = 2 * 2**30
#: More than PostgreSQL frees meanwhile: a file of its log has 16 MB.
MARGIN_BYTES = 64 * 2**20


class Disk:
    """A tmpfs, whose size is the space of a disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resize(self, size: int) -> None:
        mount("-o", f"remount,size={size}", str(self.path))

    def leave(self, free: int) -> None:
        """Shrink it so that about so many bytes are free. What is written meanwhile may need more: then again."""
        wait_until(lambda: self._shrink(shutil.disk_usage(self.path).used + free), 60, "the disk is small")

    def _shrink(self, size: int) -> bool:
        with suppress(subprocess.CalledProcessError):
            self.resize(size)
            return True
        return False


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    path = Path(tempfile.mkdtemp(prefix="disk-"))
    try:
        mount("-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", str(path))
    except (subprocess.CalledProcessError, FileNotFoundError):
        path.rmdir()
        pytest.skip("only root of a machine that allows mounts can make a small disk")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
        path.rmdir()


@pytest.fixture(scope="module")
def stack(disk: Disk) -> Iterator[Stack]:
    stack = Stack(disk.path, EMBEDDER="hashing")
    try:
        yield stack.start()
    finally:
        disk.resize(ROOM_BYTES)
        left = stack.stop()
    assert not left


def fill(stack: Stack) -> None:
    """Write log past every check of the product, until PostgreSQL has no space for it and ends."""
    with pytest.raises(psycopg.OperationalError), stack.connect() as connection:
        while True:
            connection.execute("SELECT pg_logical_emit_message(true, 'ballast', repeat('x', 1000000))")


def is_stored(stack: Stack, content: str) -> bool:
    return stack.call("POST", "/memories", {"content": content}).status in (200, 201)


def test_a_full_disk_refuses_stores_loses_nothing_and_heals_without_a_restart(disk, stack):
    web = stack.part("web").pid
    first = stack.add("stored while there was room")
    wait_until(lambda: not stack.backlog, 60, "its vector")
    disk.leave(RESERVED_BYTES - MARGIN_BYTES)
    wait_until(lambda: not is_stored(stack, "no room"), 60, "a store is refused")

    refused = stack.call("POST", "/memories", {"content": "no room either"})
    assert (refused.status, refused.headers["Retry-After"]) == (503, "60")
    assert refused.json()["detail"] == DISK_FULL_DETAIL
    assert str(stack.data) not in refused.data.decode()
    assert stack.search("stored while there was room")["results"][0]["memory"]["id"] == first["id"]
    assert stack.health()["disk"] == "unhealthy"

    disk.leave(0)
    fill(stack)
    reserve = stack.data / "reserve"
    wait_until(lambda: not reserve.exists(), 60, "the reserve is given up")
    wait_until(lambda: stack.call("GET", f"/memories/{first['id']}").status == 200, 60, "it can be read again")
    assert not is_stored(stack, "still no room")
    assert stack.health()["disk"] == "unhealthy"

    disk.resize(ROOM_BYTES)
    wait_until(lambda: is_stored(stack, "room again"), 60, "a store works again")
    wait_until(lambda: not stack.backlog, 60, "the worker embeds again")
    assert stack.call("GET", f"/memories/{first['id']}").json()["embedded"]
    # Worker and beat may have ended when the broker had no room for its file; they are started again.
    wait_until(lambda: stack.health()["all"] == "healthy", 90, "everything is healthy again")
    assert stack.part("web").pid == web
