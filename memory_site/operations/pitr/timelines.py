"""Timelines: after each recovery PostgreSQL writes its log under a new number, and a history says where it branched.

A time belongs to the timeline on which the site ran then. PostgreSQL's histories name positions, not times, so each
recovery that took the place of the site's database notes when it did, in a file of the archive.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from memory_site.operations.files import write_durably
from memory_site.operations.pitr.problems import PitrProblem
from memory_site.operations.pitr.segments import parse_lsn

ERAS_FILE = "timelines.json"


@dataclass(frozen=True)
class Branch:
    """The part of a timeline that belongs to a history: up to `end`, or without an end for the last one."""

    timeline: int
    end: int | None


def parse_history(text: str, timeline: int) -> list[Branch]:
    """Return the branches that lead to a timeline, oldest first. `text` is its history file."""
    branches = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0].isdigit():
            branches.append(Branch(int(words[0]), parse_lsn(words[1])))
    return [*branches, Branch(timeline, None)]


@dataclass(frozen=True)
class Era:
    """The time in which the site ran on a timeline; None: without an end."""

    timeline: int
    since: datetime
    until: datetime | None


BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


def read_eras(archive: Path, current_timeline: int) -> list[Era]:
    """Return the eras of the site, oldest first, without gaps."""
    starts = [(each["timeline"], datetime.fromisoformat(each["since"])) for each in read_noted(archive)]
    if not starts or starts[0][1] > BEGINNING:
        first = starts[0] if starts else None
        starts.insert(0, (get_first_timeline(archive, current_timeline) if first else current_timeline, BEGINNING))
    ends = [since for _, since in starts[1:]]
    return [Era(timeline, since, until) for (timeline, since), until in zip(starts, [*ends, None], strict=True)]


def get_first_timeline(archive: Path, default: int) -> int:
    """Return the timeline before the first noted recovery."""
    noted = read_noted(archive)
    return noted[0]["parent"] if noted else default


def read_noted(archive: Path) -> Sequence[dict]:
    """Return what was noted, oldest first.

    Raises PitrProblem if the file is damaged: a guess would recover the state of another time.
    """
    path = archive / ERAS_FILE
    try:
        noted = json.loads(path.read_bytes())
        for each in noted:
            check_noted(**each)
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, RecursionError):
        raise PitrProblem(
            f"{path} is damaged: fetch it from another copy of the archive, or remove it; times that an earlier "
            "recovery left out can then not be recovered."
        ) from None
    return noted


def check_noted(*, timeline: int, parent: int, since: str) -> None:
    """Raise ValueError or TypeError if the fields of a recovery are not those that were written."""
    if not 0 <= parent < timeline or datetime.fromisoformat(since).tzinfo is None:
        raise ValueError(since)


def note_unknown_era(archive: Path, timeline: int, archived: Iterable[int]) -> None:
    """Note a timeline that began where nothing was archived yet: on a machine that came back from the archive alone.

    `archived` are the timelines of the archive.
    """
    noted = [each["timeline"] for each in read_noted(archive)]
    earlier = [each for each in (*noted, *archived) if each < timeline]
    if timeline not in noted and earlier:
        note_era(archive, timeline, max(earlier), datetime.now(UTC))


def note_era(archive: Path, timeline: int, parent: int, since: datetime) -> None:
    """Note that from now on the site runs on a timeline that branched off `parent`."""
    noted = [*read_noted(archive), {"timeline": timeline, "parent": parent, "since": since.isoformat()}]
    write_durably(archive / ERAS_FILE, json.dumps(noted, indent=1).encode())
