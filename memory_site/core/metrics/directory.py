"""The directory in which each process of a machine counts in a file of its own.

A process holds a lock on its file as long as it lives, whatever ends it. The files of those that have ended are added
up into one, so that counters never fall and the number of files is that of the living processes, however many came and
went before them.
"""

import fcntl
import json
import os
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import IO
from uuid import uuid4

from prometheus_client.mmap_dict import MmapedDict

#: Values by key, in billionths: whole numbers have the same sum in any order. Of floats the last digit depends on it,
#: and Prometheus takes a counter that falls by that digit for one that began again at 0. A key is the library's: JSON
#: of metric, sample, labels and help.
Totals = dict[str, int]
BILLIONTHS = 10**9
SUFFIX, DRAFT_SUFFIX = ".db", ".draft"
ENDED, LOCK = "ended.json", "lock"
#: Bytes of a new file, as in the library, and of an entry beside its key.
FIRST_BYTES = 1 << 16
MAX_BYTES_BESIDE_KEY = 32
#: A draft so old is that of a process that was killed as it began.
MAX_DRAFT_SECONDS = 600
#: A reader waits so long for a process that adds up files. That takes milliseconds, unless the process stands still.
LOCK_SECONDS, LOCK_PAUSE_SECONDS = 2.0, 0.01


class ProcessFile(MmapedDict):
    """The file in which this process counts, in the library's format, locked until the process ends.

    Its blocks are reserved before they are mapped: where a disk is full, writing to a mapped hole ends the process by
    SIGBUS. Raises OSError when there is no room. Not safe to share between threads.
    """

    def __init__(self, path: Path) -> None:
        draft = path.with_suffix(DRAFT_SUFFIX)  # it gets its name when it is locked: none takes it for a dead one's
        with draft.open("ab") as file:
            reserve(file, FIRST_BYTES)
        super().__init__(str(draft))
        fcntl.flock(self._f, fcntl.LOCK_SH)
        draft.rename(path)

    def write(self, key: str, value: float) -> None:
        self.write_value(key, value, 0.0)

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + MAX_BYTES_BESIDE_KEY > self._capacity:
            reserve(self._f, 2 * self._capacity)  # what the library makes of it
        super()._init_value(key)


def reserve(file: IO[bytes], size: int) -> None:
    """Give a file blocks up to a size in bytes. Raises OSError when the disk has none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    missing = size - os.fstat(file.fileno()).st_size
    file.write(bytes(max(missing, 0)))
    file.flush()


class MetricsDirectory:
    """A directory of files of processes. Every process of a machine, and of its containers, may share one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open_file(self) -> ProcessFile:
        """Return a new file of this process, after those of ended ones were added up. Raises OSError."""
        self.add_up_ended()
        return ProcessFile(self.path / f"{uuid4().hex}{SUFFIX}")

    def add_up_ended(self) -> None:
        """Add the files of ended processes to those that ended before, unless another process does so now."""
        with self._locked(fcntl.LOCK_EX, seconds=0) as is_locked:
            if is_locked:
                self._add_up(self._find_ended())
                self._remove_drafts()

    def start_over(self) -> None:
        """Forget what ended processes have counted, unless a process lives that counts here. Creates the directory."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked(fcntl.LOCK_EX, seconds=LOCK_SECONDS) as is_locked:
            ended = self._find_ended()
            if is_locked and len(ended) == len(self._list_files()):
                for path in (*ended, self.path / ENDED):
                    path.unlink(missing_ok=True)

    def read(self) -> tuple[Totals, list[Totals]]:
        """Return what ended processes have counted, and what each living one has. Raises OSError."""
        self.add_up_ended()
        with self._locked(fcntl.LOCK_SH, seconds=LOCK_SECONDS):
            ended, included = self._read_ended()
            return ended, [read_file(path) for path in self._list_files() if path.name not in included]

    def _add_up(self, paths: Iterable[Path]) -> None:
        """One renaming decides whether a file is counted there or by itself, also if this process is killed at it."""
        totals, included = self._read_ended()
        added = [path for path in paths if path.name not in included]
        for path in added:
            add(totals, read_file(path))
        if added:
            draft = self.path / f"ended{DRAFT_SUFFIX}"
            draft.write_text(json.dumps({"included": [path.name for path in paths], "billionths": totals}))
            draft.replace(self.path / ENDED)
        for path in paths:
            path.unlink(missing_ok=True)

    def _remove_drafts(self) -> None:
        for path in self.path.glob(f"*{DRAFT_SUFFIX}"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > MAX_DRAFT_SECONDS:
                    path.unlink()

    def _read_ended(self) -> tuple[Totals, set[str]]:
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            found = json.loads((self.path / ENDED).read_text())
            return found["billionths"], set(found["included"])
        return {}, set()

    def _list_files(self) -> list[Path]:
        return sorted(self.path.glob(f"*{SUFFIX}"))

    def _find_ended(self) -> list[Path]:
        return [path for path in self._list_files() if has_ended(path)]

    @contextmanager
    def _locked(self, kind: int, seconds: float) -> Iterator[bool]:
        """Hold the directory's lock inside the block, if it can be had in so many seconds. Provide whether it is."""
        with (self.path / LOCK).open("ab") as file:
            yield take_lock(file, kind, seconds)


def take_lock(file: IO[bytes], kind: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOCK_PAUSE_SECONDS)


def has_ended(path: Path) -> bool:
    """Return whether no process holds the file any more."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        return take_lock(file, fcntl.LOCK_EX, seconds=0)
    return False


def read_file(path: Path) -> Totals:
    """Return the values of a process: none of a file that was just created, and of one that is damaged."""
    with suppress(FileNotFoundError, struct.error, RuntimeError, UnicodeDecodeError):
        values = MmapedDict.read_all_values_from_file(str(path))
        return {key: round(value * BILLIONTHS) for key, value, *_ in values if isfinite(value)}
    return {}


def add(totals: Totals, more: Mapping[str, int]) -> None:
    for key, value in more.items():
        totals[key] = totals.get(key, 0) + value
