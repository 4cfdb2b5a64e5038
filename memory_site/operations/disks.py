"""The file systems that the site writes to: their space, samples of it, and when they will be full."""

import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import median

from django.conf import settings
from django.db import Error

from memory_site.embedded.reserve import Reserve
from memory_site.embedded.wal_archive.settings import ArchiveSettings
from memory_site.operations.models import DiskSample
from memory_site.operations.models.disks import FreePoint

#: A rate needs so many hours with samples.
MIN_HOURS = 6
#: One measurement at a time: a dead network file system keeps its thread, and only one.
_measuring = threading.Lock()


@dataclass
class FileSystem:
    """One file system: the site's directories on it, by name, and its space in bytes."""

    total: int
    free: int
    #: Share of the inodes that are free; 1 where the file system has no fixed number of them.
    free_inodes: float
    read_only: bool
    places: dict[str, Path] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return next(iter(self.places.values()))

    @property
    def names(self) -> str:
        return ", ".join(self.places)


def list_places() -> dict[str, Path]:
    """Return the directories that the site writes to on this machine, by name."""
    places = {"temporary files": Path(tempfile.gettempdir())}
    if settings.EMBEDDED:
        home = settings.HOME
        places = {"data": home.path, "WAL": home.path / "postgres" / "pg_wal", "logs": home.logs} | places
        if (archive := ArchiveSettings.read(home)) and archive.enabled:
            places["archive of the WAL"] = Path(archive.archive)
    if settings.BACKUP_DIR:
        places["backups"] = settings.BACKUP_DIR
    return places


def measure_file_systems() -> list[FileSystem]:
    """Return the file systems of all places, each once."""
    found: dict[int, FileSystem] = {}
    for name, place in list_places().items():
        path = find_existing(place)
        found.setdefault(path.stat().st_dev, measure(path)).places[name] = path
    return list(found.values())


def find_existing(path: Path) -> Path:
    """Return the directory, or the closest existing one above it: it will be created there."""
    path = path.resolve()
    return next(each for each in (path, *path.parents) if each.exists())


def measure(path: Path) -> FileSystem:
    """Return size and free bytes of the file system of a path, and its share of free inodes. Raises OSError."""
    info = os.statvfs(path)
    inodes = info.f_favail / info.f_files if info.f_files else 1.0
    read_only = bool(info.f_flag & os.ST_RDONLY)
    return FileSystem(info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize, inodes, read_only)


def take_samples() -> None:
    """Store a sample of every file system of this machine, and delete old ones.

    In embedded mode the space for PostgreSQL's recovery is reserved again after a full disk.
    """
    if settings.EMBEDDED:
        Reserve(settings.HOME.path).adjust()
    if not _measuring.acquire(blocking=False):
        return
    try:
        systems = measure_file_systems()
    finally:
        _measuring.release()
    machine = socket.gethostname()
    DiskSample.objects.bulk_create(
        DiskSample(machine=machine, path=str(each.path), free_bytes=each.free, total_bytes=each.total)
        for each in systems
    )
    DiskSample.objects.forget_old()


def forecast_days(system: FileSystem) -> float | None:
    """Return the days until a file system of this machine is full at the rate of the last week, None if it does not
    fill, or if it was measured for too short a time.
    """
    try:
        points = DiskSample.objects.of(socket.gethostname(), str(system.path)).list_hourly()
    except Error:  # a full disk may be why the database is away
        return None
    rate = estimate_rate(points) if len(points) >= MIN_HOURS else 0.0
    return system.free / -rate if rate < 0 else None


def estimate_rate(points: Sequence[FreePoint]) -> float:
    """Return the change of free bytes a day: the median of the slopes between all pairs of points (Theil and Sen).

    Unlike a least-squares line it is not turned by a few points, such as one large deletion.
    """
    return median(list_slopes(points))


def list_slopes(points: Sequence[FreePoint]) -> Iterator[float]:
    return ((later.free - earlier.free) / (later.day - earlier.day) for earlier, later in combinations(points, 2))
