"""The file of the ledger: one line an erasure, appended and synced; beside the backups, not inside them."""

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from uuid import UUID

from memory_site.operations.backups.problems import BackupProblem
from memory_site.operations.erasures.entries import DamagedLine, Entry, open_line, parse_line, seal
from memory_site.operations.files import sync

LEDGER_NAME = "erasures.jsonl"
UUID_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class LedgerProblem(BackupProblem):
    """The ledger cannot be relied on. The message is a sentence for the operator."""


@dataclass
class Ledger:
    """What a file, or several, say: entries by id, damaged lines by number, and the ids that another key sealed."""

    name: str = LEDGER_NAME
    entries: dict[UUID, Entry] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)

    def require_whole(self) -> None:
        """Raise LedgerProblem if a line cannot be read that no other line repeats: what was erased might come back."""
        known = {str(key) for key in self.entries}
        for number, line in self.damaged.items():
            if not known.intersection(UUID_PATTERN.findall(line)):
                raise LedgerProblem(
                    f"Line {number} of {self.name} is damaged, so that what was erased might come back: fetch the file "
                    "from another copy, or remove the line to do without it."
                )
        if unknown := self.foreign - known:
            raise LedgerProblem(
                f"{self.name} has erasures ({len(unknown)}) that were recorded with another SECRET_KEY: use that key, "
                "or remove their lines to do without them."
            )

    def covers(self, other: "Ledger") -> bool:
        return not self.damaged and len(self.entries) >= len(other.entries) + len(other.damaged)

    def merge(self, other: "Ledger") -> None:
        """Take what another copy of the ledger has too. A copy with as many lines, all of them readable, stands for
        the damaged ones."""
        is_covered = other.covers(self) or self.covers(other)
        self.damaged = {} if is_covered else self.damaged | other.damaged
        self.entries |= other.entries
        self.foreign |= other.foreign


def read_ledger(path: Path) -> Ledger:
    """Return what the file says; an empty ledger if there is none. Raises LedgerProblem if it cannot be read."""
    try:
        return parse_ledger(path.read_bytes(), str(path))
    except FileNotFoundError:
        return Ledger(str(path))
    except OSError as error:
        raise LedgerProblem(f"{path} cannot be read: {error.strerror}.") from None


def parse_ledger(data: bytes, name: str) -> Ledger:
    ledger = Ledger(name)
    for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        if line.strip():
            add_line(ledger, number, line)
    return ledger


def add_line(ledger: Ledger, number: int, line: str) -> None:
    try:
        entry = open_line(line)
    except DamagedLine:
        ledger.damaged[number] = line
        return
    if entry is None:
        ledger.foreign.add(str(parse_line(line)["id"]))
    else:
        ledger.entries[entry.id] = entry


def append_missing(path: Path, recorded: Iterable[Entry]) -> int:
    """Append the entries that the file lacks, and sync it. Return how many.

    A line that another SECRET_KEY sealed is not ours: the entry is appended again with the present key. A line that a
    crash cut gives way to the whole one. Where nothing was erased there is no file.
    """
    recorded = list(recorded)
    if not recorded or is_read_only(path, recorded):
        return 0
    with open_locked(path) as file:
        data = file.read()
        missing = list_missing(parse_ledger(data, str(path)), recorded)
        if missing:
            file.truncate(data.rfind(b"\n") + 1)
            file.write("".join(f"{seal(entry)}\n" for entry in missing).encode())
            file.flush()
            os.fsync(file.fileno())
    return len(missing)


def is_read_only(path: Path, recorded: list[Entry]) -> bool:
    """Return whether the file cannot be written, and lacks nothing: backups can be restored from a disk that is mounted
    read-only."""
    is_writable = os.access(path if path.exists() else path.parent, os.W_OK)
    return not is_writable and not list_missing(read_ledger(path), recorded)


def list_missing(ledger: Ledger, recorded: list[Entry]) -> list[Entry]:
    return [entry for entry in recorded if entry.id not in ledger.entries]


@contextmanager
def open_locked(path: Path) -> Iterator[IO[bytes]]:
    """Open the file for reading and appending, mode 0600, for one process at a time; create what is missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    if is_new:
        sync(path.parent)
