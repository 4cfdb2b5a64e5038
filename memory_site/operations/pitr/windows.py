"""The times that can be recovered: for each base backup from its end to the first hole in the log behind it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from memory_site.operations.pitr.problems import NotRecoverable
from memory_site.operations.pitr.repository import Base
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.timelines import Era, read_eras
from memory_site.operations.pitr.wal_report import WalArchive, belongs_to


@dataclass(frozen=True)
class Window:
    """The times that a base backup can be recovered to on a timeline. `until` None: up to the end of the log."""

    base: Base
    timeline: int
    since: datetime
    until: datetime | None


def list_windows(archive: WalArchive, current: Segment) -> list[Window]:
    """Return the windows, newest base first. `current` is the segment that the server writes, or would."""
    eras = read_eras(archive.repository.path, current.timeline)
    windows = [window for era in eras for window in list_windows_of_era(archive, era, current)]
    return sorted(windows, key=lambda window: (window.timeline, window.base.written_at), reverse=True)


def list_windows_of_era(archive: WalArchive, era: Era, current: Segment) -> Iterator[Window]:
    history = archive.get_history(era.timeline)
    end = current if era.timeline == current.timeline else archive.find_end(era.timeline)
    for base in archive.repository.list_bases():
        if not belongs_to(base, history):
            continue
        report = archive.report(base, end)
        since = max(base.written_at, era.since)
        # When the first segment behind the base is lost, recovery ends with the base.
        reach = (archive.find_reach(report) or since) if report.gaps else None
        until = min((time for time in (reach, era.until) if time), default=None)
        if until is None or until >= since:
            yield Window(base, era.timeline, since, until)


def choose_windows(windows: list[Window], time: datetime | None) -> list[Window]:
    """Return the windows that hold a time, best first; None: the end of the log. Raises NotRecoverable."""
    fitting = [window for window in windows if holds(window, time)]
    if not fitting:
        raise NotRecoverable(explain(windows, time))
    return fitting


def holds(window: Window, time: datetime | None) -> bool:
    if time is None:
        return window.until is None
    return window.since <= time and (window.until is None or time <= window.until)


def explain(windows: list[Window], time: datetime | None) -> str:
    """Say why no window holds a time."""
    if not windows:
        return "Nothing can be recovered: there is no base backup. `pitr base` makes one."
    earliest = min(window.since for window in windows)
    reached = [window.until for window in windows if window.until]
    if time is None:
        return f"The log has a gap behind every base backup: name a time, up to {format_time(max(reached))}."
    if time < earliest:
        return f"{format_time(time)} is before the end of the oldest base backup, {format_time(earliest)}."
    before = max((until for until in reached if until <= time), default=None)
    after = min((window.since for window in windows if window.since >= time), default=None)
    bounds = f"after {format_time(before) if before else 'the last archived segment'}"
    bounds += f" and before {format_time(after)}" if after else ""
    return f"{format_time(time)} lies in a gap of the log: nothing {bounds} can be recovered."


def format_time(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
