"""Whether the log is whole: each segment from a base backup to now is found, delayed, uploading or lost (as WAL-G
does in `wal-verify`), and so how far recovery from that base can come."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from memory_site.embedded.wal_archive.program import WAL_NAME
from memory_site.operations.pitr.repository import Base, Repository, read_finished_at
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.timelines import Branch


class WalState(StrEnum):
    """Found: archived. Delayed: PostgreSQL keeps it until it is. Uploading: a part is archived. Lost: it was given up,
    or is gone."""

    FOUND = "found"
    DELAYED = "delayed"
    UPLOADING = "uploading"
    LOST = "lost"


@dataclass(frozen=True)
class WalReport:
    """The segments that recovery from a base backup to the end of a history needs, and the state of each, in order."""

    states: dict[Segment, WalState]

    @property
    def counts(self) -> dict[WalState, int]:
        counted = Counter(self.states.values())
        return {state: counted[state] for state in WalState}

    @property
    def gaps(self) -> list[tuple[Segment, Segment]]:
        """The first and the last of each row of lost segments."""
        gaps: list[tuple[Segment, Segment]] = []
        before = None
        for segment, state in self.states.items():
            if state is WalState.LOST:
                gaps.append((gaps.pop()[0], segment) if before is WalState.LOST else (segment, segment))
            before = state
        return gaps


class WalArchive:
    """The archived files and the server's own directory of the log, read once."""

    def __init__(self, repository: Repository, live_wal: Path | None) -> None:
        self.repository, self.live_wal = repository, live_wal
        self.stored, self.uploading = repository.list_stored(), repository.list_uploading()
        self.waiting = set(self.list_waiting())
        self.live = {path.name for path in live_wal.iterdir()} if live_wal and live_wal.is_dir() else set()

    def get_state(self, segment: Segment) -> WalState:
        if segment.name in self.stored:
            return WalState.FOUND
        if segment.name in self.uploading:
            return WalState.UPLOADING
        return WalState.DELAYED if segment.name in self.waiting else WalState.LOST

    def get_history(self, timeline: int) -> list[Branch]:
        return self.repository.read_history(timeline, *([self.live_wal] if self.live_wal else []))

    def find_end(self, timeline: int) -> Segment:
        """Return the segment behind the last one of a timeline that is archived, or waits for it. For a server that
        does not run, or a timeline that was left."""
        names = [*self.stored, *self.waiting]
        numbers = [each.number for each in map(Segment.parse, names) if each and each.timeline == timeline]
        return Segment(timeline, max(numbers, default=-1) + 1)

    def find_newest_end(self) -> Segment:
        """Return that of the newest timeline, for a server that does not run."""
        names = [*self.stored, *self.live]
        return self.find_end(max((int(name[:8], 16) for name in names if WAL_NAME.fullmatch(name)), default=1))

    def list_waiting(self) -> list[str]:
        """Return the names of the files that PostgreSQL keeps because they are not archived."""
        directory = self.live_wal / "archive_status" if self.live_wal else None
        if directory is None or not directory.is_dir():
            return []
        return [path.stem for path in directory.glob("*.ready")]

    def report(self, base: Base, end: Segment) -> WalReport:
        """Return the state of each finished segment from a base to before `end`, along the timeline of `end`."""
        segments = list_needed(base.first_needed_segment, self.get_history(end.timeline), end)
        return WalReport({segment: self.get_state(segment) for segment in segments})

    def find_reach(self, report: WalReport) -> datetime | None:
        """Return the time up to which recovery can come before its first lost segment; None: to the end."""
        last = None
        for segment, state in report.states.items():
            if state is WalState.LOST:
                return self.get_finished_at(last) if last else None
            last = segment
        return None

    def get_finished_at(self, segment: Segment) -> datetime | None:
        if segment.name in self.stored:
            return read_finished_at(self.stored[segment.name])
        live = self.live_wal / segment.name if self.live_wal else None
        return datetime.fromtimestamp(live.stat().st_mtime, UTC) if live and live.is_file() else None


def list_needed(first: Segment, history: Sequence[Branch], end: Segment) -> Iterator[Segment]:
    """Yield the segments from `first` to the one before `end`. The one in which a timeline branches off is the new
    one's."""
    number = first.number
    for branch in history:
        if branch.timeline < first.timeline:
            continue
        last = end.number if branch.end is None else min(Segment.at(branch.timeline, branch.end).number, end.number)
        while number < last:
            yield Segment(branch.timeline, number)
            number += 1


def belongs_to(base: Base, history: Sequence[Branch]) -> bool:
    """Return whether recovery along a history can begin with a base: it ended before the next timeline branched off."""
    return any(
        branch.timeline == base.timeline and (branch.end is None or base.stop <= branch.end) for branch in history
    )
