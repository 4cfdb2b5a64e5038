"""Proves that the archive works: forces a segment through it, and reads all that it holds."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.wal_archive.program import WalProblem, check_origin, read_checked, unpack
from memory_site.operations.pitr.base_check import Advance, check_base
from memory_site.operations.pitr.enabling import is_archiving
from memory_site.operations.pitr.problems import PitrProblem
from memory_site.operations.pitr.repository import Repository
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.server import connect_superuser, finish_segment, read_position

NOT_ARCHIVING = "PostgreSQL does not archive its log: run `manage.py pitr enable`."
#: Seconds for a segment to reach the archive. PostgreSQL repeats a failed attempt after one second, then after sixty.
PATIENCE_SECONDS = 75
LOG_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Arrival:
    """A segment that went through, and the seconds that it took."""

    segment: Segment
    seconds: float


def force_segment(home: DataDirectory, repository: Repository, patience: float = PATIENCE_SECONDS) -> Arrival:
    """Have PostgreSQL finish a segment, wait until it is archived, and read it back. Raises PitrProblem."""
    with connect_superuser(home) as connection:
        if not is_archiving(connection):
            raise PitrProblem(NOT_ARCHIVING)
        system = read_position(connection).system_identifier
        started = time.monotonic()
        segment = finish_segment(connection)
    stored = wait_for_segment(home, repository, segment, patience)
    try:
        check_origin(unpack(stored), segment.name, system)
    except WalProblem as error:
        raise PitrProblem(f"The archive does not give back what it got: {error}.") from None
    return Arrival(segment, time.monotonic() - started)


def wait_for_segment(home: DataDirectory, repository: Repository, segment: Segment, patience: float) -> Path:
    deadline = time.monotonic() + patience
    while (stored := repository.list_stored().get(segment.name)) is None:
        if time.monotonic() > deadline:
            raise PitrProblem(f"{segment} did not reach the archive in {patience:.0f} s{explain_failure(home)}.")
        time.sleep(0.05)
    return stored


def explain_failure(home: DataDirectory) -> str:
    """Return what the archive program wrote last into PostgreSQL's log, behind a colon, or nothing."""
    try:
        with (home.logs / "postgres.log").open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.split("WAL archive: ", 1)[1] for line in lines if "WAL archive: " in line]
    return f": {said[-1]}" if said else ""


def measure_archive(repository: Repository) -> int:
    """Return the bytes that `find_damage` reads."""
    stored = sum(path.stat().st_size for path in repository.list_stored().values())
    return stored + sum(base.manifest["size"] for base in repository.list_bases())


def find_damage(repository: Repository, advance: Advance = lambda done: None) -> Iterator[str]:
    """Read every archived file and base backup, and yield a sentence for each file that is not as it was written."""
    for path in repository.list_stored().values():
        try:
            advance(len(read_checked(path)))
        except (WalProblem, OSError) as error:
            yield f"wal/{error if isinstance(error, WalProblem) else f'{path.name} cannot be read: {error.strerror}'}"
    yield from (f"base/{sentence}" for sentence in repository.list_unreadable_bases())
    for base in repository.list_bases():
        yield from (f"base/{base.name}/{problem}" for problem in check_base(base, advance))
