"""What is known of recovery to a moment, for the status command, health and metrics."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from memory_site.embedded.data_dir import DataDirectory, DataDirectoryError
from memory_site.embedded.wal_archive.program import GAPS_FILE
from memory_site.embedded.wal_archive.settings import ArchiveSettings
from memory_site.operations.pitr.drill import read_drills
from memory_site.operations.pitr.repository import Base, Repository
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.server import connect_superuser, fetch_row, read_position
from memory_site.operations.pitr.wal_report import WalArchive, WalReport, WalState, belongs_to
from memory_site.operations.pitr.windows import Window, list_windows

BASE_INTERVAL = timedelta(days=7)
ARCHIVER_SQL = """
SELECT current_setting('archive_mode') <> 'off', last_archived_time, last_failed_time, failed_count, last_failed_wal
FROM pg_stat_archiver
"""


@dataclass(frozen=True)
class Archiver:
    """What PostgreSQL says of its archiver. `failing`: its last attempt failed."""

    archiving: bool
    last_archived_at: datetime | None
    last_failed_at: datetime | None
    failures: int
    last_failed_wal: str | None

    @property
    def failing(self) -> bool:
        return self.last_failed_at is not None and (
            self.last_archived_at is None or self.last_failed_at > self.last_archived_at
        )


@dataclass(frozen=True)
class PitrFacts:
    """The state of recovery to a moment. Without `enabled` the other facts have their defaults.

    `archiver` is None when the server does not answer. `report` covers the log from the oldest base backup to now,
    `lost_since_base` counts the lost segments behind the newest one. `gap_reasons` says why segments
    were given up, by their names; `base_due` why a base backup is due.
    """

    enabled: bool
    archiver: Archiver | None = None
    waiting_segments: int = 0
    wal_bytes: int = 0
    timeline: int = 1
    bases: list[Base] = field(default_factory=list)
    report: WalReport | None = None
    lost_since_base: int = 0
    windows: list[Window] = field(default_factory=list)
    gap_reasons: dict[str, str] = field(default_factory=dict)
    base_due: str | None = None
    last_drill: dict[str, Any] | None = None

    @property
    def last_base_at(self) -> datetime | None:
        return self.bases[-1].written_at if self.bases else None


def get_pitr_facts(home: DataDirectory | None = None) -> PitrFacts:
    """Return the facts, by default of this site. Reads the archive's listing and asks the server two questions.

    Raises OSError if the archive cannot be listed. With a server of the operator's own nothing is enabled here.
    """
    if home is None and not settings.EMBEDDED:
        return PitrFacts(enabled=False)
    home = home or settings.HOME
    stored = ArchiveSettings.read(home)
    if stored is None or not stored.enabled:
        return PitrFacts(enabled=False)
    return collect(home, Repository(Path(stored.archive)))


def collect(home: DataDirectory, repository: Repository) -> PitrFacts:
    """Return the facts of an archive that is switched on, from its files and from the server, if that answers."""
    live_wal = home.path / "postgres" / "pg_wal"
    archive = WalArchive(repository, live_wal if live_wal.is_dir() else None)
    archiver, current = ask_server(home)
    end = current or archive.find_newest_end()
    history = archive.get_history(end.timeline)
    bases = repository.list_bases()
    usable = [base for base in bases if belongs_to(base, history) and not base.foreign]
    report = archive.report(usable[0], end) if usable else None
    lost = archive.report(usable[-1], end).counts[WalState.LOST] if usable else 0
    return PitrFacts(
        enabled=True,
        archiver=archiver,
        waiting_segments=len(archive.waiting),
        wal_bytes=measure_log(live_wal),
        timeline=end.timeline,
        bases=bases,
        report=report,
        lost_since_base=lost,
        windows=[window for window in list_windows(archive, end) if not window.base.foreign],
        gap_reasons=read_gap_reasons(home),
        base_due=explain_due_base(usable, end, lost),
        last_drill=next(reversed(read_drills(repository.path)), None),
    )


def ask_server(home: DataDirectory) -> tuple[Archiver | None, Segment | None]:
    try:
        with connect_superuser(home) as connection:
            return Archiver(*fetch_row(connection, ARCHIVER_SQL)), read_position(connection).segment
    except (psycopg.OperationalError, DataDirectoryError):
        return None, None


def read_gap_reasons(home: DataDirectory) -> dict[str, str]:
    """Return what the archive program noted when it gave segments up."""
    try:
        lines = (home.path / GAPS_FILE).read_text(errors="replace").splitlines()
    except OSError:
        return {}
    reasons = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # a crash may have cut it
            noted = json.loads(line)
            reasons[noted["segment"]] = noted["reason"]
    return reasons


def explain_due_base(usable: list[Base], current: Segment, lost: int) -> str | None:
    """Return why a base backup is due, or None."""
    if not usable:
        return "there is none that recovery could begin with"
    if lost:
        return f"the log behind the last one has a gap ({lost} lost)"
    if usable[-1].timeline != current.timeline:
        return f"the server has written timeline {current.timeline} since the last one"
    age = datetime.now(UTC) - usable[-1].written_at
    return f"the last one is {age.days} days old" if age >= BASE_INTERVAL else None


def measure_log(directory: Path) -> int:
    """Return the bytes of the server's log."""
    try:
        return sum(entry.stat().st_size for entry in os.scandir(directory) if entry.is_file())
    except OSError:
        return 0
