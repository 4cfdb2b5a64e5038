"""The archive on disk: `wal/` with the files of the log, `base/` with base backups and a signed manifest of each."""

import os
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memory_site.embedded.wal_archive.program import (
    ARCHIVE_TIMEOUT_SECONDS,
    STORED_NAME,
    DamagedFile,
    find_stored,
    unpack,
)
from memory_site.operations.backups.manifest import read_manifest
from memory_site.operations.backups.problems import ForeignManifest, ManifestProblem
from memory_site.operations.pitr.segments import Segment, parse_lsn
from memory_site.operations.pitr.timelines import Branch, parse_history

SYSTEM_FILE = "system_identifier"
MAX_UPLOAD_SECONDS = 2 * ARCHIVE_TIMEOUT_SECONDS


@dataclass(frozen=True)
class Base:
    """A base backup: a copy of the data directory that becomes consistent at the position `stop`.

    `foreign` says that its manifest was signed with another SECRET_KEY; empty: it was signed with this site's.
    """

    name: str
    directory: Path
    manifest: dict[str, Any]
    foreign: str = ""

    @property
    def timeline(self) -> int:
        return self.manifest["timeline"]

    @property
    def start(self) -> int:
        return parse_lsn(self.manifest["start_lsn"])

    @property
    def stop(self) -> int:
        return parse_lsn(self.manifest["stop_lsn"])

    @property
    def written_at(self) -> datetime:
        """From this time on the base can be recovered to."""
        return datetime.fromisoformat(self.manifest["written_at"])

    @property
    def first_segment(self) -> Segment:
        return Segment.at(self.timeline, self.start)

    @property
    def first_needed_segment(self) -> Segment:
        """The base holds the log up to its end; from that segment on the archive has to."""
        return Segment.at(self.timeline, self.stop)


class Repository:
    """The archive of a database in a directory."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.wal, self.bases = self.path / "wal", self.path / "base"

    @property
    def system_identifier(self) -> str | None:
        """The database that it belongs to; None: nothing was archived yet."""
        try:
            return (self.path / SYSTEM_FILE).read_text().strip()
        except FileNotFoundError:
            return None

    def list_stored(self) -> dict[str, Path]:
        """Return the path of each archived file of the log by its name. Empty if there is no archive."""
        return {
            match["name"]: self.wal / match.string for match in map(STORED_NAME.fullmatch, self._list_wal()) if match
        }

    def list_uploading(self) -> set[str]:
        """Return the names of the files that are being archived now, not of those that an end left in parts."""
        drafts = [name for name in self._list_wal() if name.endswith(".partial")]
        return {name.split("-")[0] for name in drafts if get_age_seconds(self.wal / name) < MAX_UPLOAD_SECONDS}

    def remove_leftovers(self) -> None:
        """Remove parts of files that nothing writes any more, and damaged files that were replaced."""
        for name in self._list_wal():
            path = self.wal / name
            if name.endswith((".partial", ".damaged")) and get_age_seconds(path) >= MAX_UPLOAD_SECONDS:
                path.unlink(missing_ok=True)

    def _list_wal(self) -> Iterable[str]:
        try:
            return os.listdir(self.wal)
        except FileNotFoundError:
            return []

    def list_bases(self) -> list[Base]:
        """Return the base backups whose manifest can be read, oldest first; also foreign ones."""
        return [base for base in map(self._read_base, self._list_manifests()) if base]

    def list_unreadable_bases(self) -> list[str]:
        """Return a sentence for each manifest that is damaged, or signed with another SECRET_KEY: one cannot tell."""
        return [sentence for path in self._list_manifests() if (sentence := explain_unreadable(path))]

    def _list_manifests(self) -> list[Path]:
        return sorted(self.bases.glob("*.json"))

    def _read_base(self, path: Path) -> Base | None:
        try:
            return read_base(path)
        except ManifestProblem:
            return None

    def read_history(self, timeline: int, *others: Path) -> list[Branch]:
        """Return the branches that lead to a timeline, from the archive or a directory of the log."""
        name = f"{timeline:08X}.history"
        for stored in find_stored(self.wal, name) if self.wal.is_dir() else []:
            try:
                return parse_history(unpack(stored).decode(), timeline)
            except DamagedFile:
                continue
        for directory in others:
            if (directory / name).is_file():
                return parse_history((directory / name).read_text(), timeline)
        return [Branch(timeline, None)]


def get_age_seconds(path: Path) -> float:
    """Return the seconds since a file was written; none for one that has just got its name."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0


def read_base(path: Path) -> Base:
    """Return the base backup of a manifest, also a foreign one. Raises ManifestProblem, also for one that does not say
    what it has to."""
    try:
        manifest, foreign = read_manifest(path), ""
    except ForeignManifest as error:
        manifest, foreign = read_manifest(path, trust_foreign=True), str(error)
    base = Base(path.stem, path.with_suffix(""), manifest, foreign)
    if not is_complete(base):
        raise ManifestProblem(f"{path.name} is no manifest of a base backup.")
    return base


def is_complete(base: Base) -> bool:
    """Return whether a manifest, which another site may have signed, has every entry that is used, of its type."""
    try:
        numbers = [base.timeline, base.start, base.stop, base.manifest["size"]]
        files = [(path + sha256, size) for path, (size, sha256) in base.manifest["own_files"].items()]
        numbers += [size for _, size in files]
        known = isinstance(base.manifest["system_identifier"], str) and base.written_at.tzinfo is not None
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return known and all(isinstance(number, int) and 0 <= number < 1 << 64 for number in numbers)


def explain_unreadable(path: Path) -> str | None:
    try:
        return read_base(path).foreign or None
    except ManifestProblem as error:
        return str(error)


def read_finished_at(stored: Path) -> datetime:
    """Return when PostgreSQL wrote the last of an archived file: the time in the header of gzip (RFC 1952)."""
    with stored.open("rb") as file:
        (seconds,) = struct.unpack("<4xI", file.read(8))
    return datetime.fromtimestamp(seconds, UTC)
