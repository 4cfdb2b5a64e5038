"""Free space of the file systems, and when they will be full."""

import socket
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from memory_site.operations import disks
from memory_site.operations.disks import FileSystem, measure_file_systems, take_samples
from memory_site.operations.health.disk import check_disk
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.models import DiskSample

pytestmark = pytest.mark.django_db
GB = 2**30


@pytest.fixture
def system(monkeypatch):
    """One file system with 50 of 100 GB free."""
    system = FileSystem(
        100 * GB, 50 * GB, 1.0, read_only=False, places={"data": Path("/data"), "WAL": Path("/data/wal")}
    )
    monkeypatch.setattr("memory_site.operations.health.disk.measure_file_systems", lambda: [system])
    return system


def add_samples(gigabytes_a_day: float, *, hours: int = 48, noise: float = 0) -> None:
    """Store samples four times an hour, of a disk that fills at this rate and has 50 GB free now."""
    for quarter in range(hours * 4):
        age = timedelta(minutes=15 * quarter)
        dip = noise * GB if quarter % 4 else 0
        free = 50 * GB + int(age / timedelta(days=1) * gigabytes_a_day * GB - dip)
        sample = DiskSample.objects.create(
            machine=socket.gethostname(), path="/data", free_bytes=free, total_bytes=100 * GB
        )
        DiskSample.objects.filter(pk=sample.pk).update(taken_at=timezone.now() - age)


@pytest.mark.parametrize(
    ("rate", "status", "forecast"),
    [
        (0, HealthStatus.HEALTHY, ""),
        (-3, HealthStatus.HEALTHY, ""),
        (0.2, HealthStatus.HEALTHY, ""),
        (1, HealthStatus.HEALTHY, ", full in about 50 days at the present rate"),
        (10, HealthStatus.DEGRADED, ", full in about 5 days at the present rate"),
    ],
)
def test_it_tells_when_the_disk_will_be_full(system, rate, status, forecast):
    add_samples(rate, hours=12)
    assert check_disk()[:2] == (status, f"50.0 GiB of 100.0 GiB free at /data (data, WAL){forecast}.")


def test_temporary_files_and_one_large_deletion_are_no_growth(system):
    add_samples(0, noise=20)
    DiskSample.objects.filter(taken_at__lt=timezone.now() - timedelta(hours=47)).update(free_bytes=90 * GB)
    assert "full in" not in check_disk()[1]


def test_a_short_time_gives_no_forecast(system):
    add_samples(500, hours=4)
    assert check_disk()[0] is HealthStatus.HEALTHY


@pytest.mark.parametrize(
    ("free", "total", "status"),
    [
        (6 * GB, 100 * GB, HealthStatus.HEALTHY),
        (4 * GB, 100 * GB, HealthStatus.DEGRADED),
        (60 * GB, 10_000 * GB, HealthStatus.HEALTHY),
        (10 * GB, 10_000 * GB, HealthStatus.DEGRADED),
        (30 * 2**20, 100 * GB, HealthStatus.UNHEALTHY),
        (300 * 2**20, 1_000 * 2**20, HealthStatus.HEALTHY),
    ],
)
def test_little_is_a_small_share_and_few_bytes(system, free, total, status):
    system.free, system.total = free, total
    found = check_disk()
    assert found[0] is status
    assert ("sort -h" in found[2]) == bool(status)


def test_inodes_and_read_only_file_systems_are_faults(system):
    system.free_inodes = 0.01
    assert check_disk()[:2] == (HealthStatus.DEGRADED, "1.0% of the inodes are free at /data (data, WAL).")
    system.read_only = True
    assert check_disk() == (
        HealthStatus.UNHEALTHY,
        "Read-only at /data (data, WAL).",
        "mount -o remount,rw /data",
    )


def test_samples_are_taken_once_for_each_file_system_and_deleted_after_a_week():
    take_samples()
    assert DiskSample.objects.count() == len(measure_file_systems())
    DiskSample.objects.update(taken_at=timezone.now() - timedelta(days=8))
    take_samples()
    assert DiskSample.objects.count() == len(measure_file_systems())


def test_a_directory_that_will_be_created_counts_for_the_one_above_it(settings, tmp_path):
    settings.BACKUP_DIR = tmp_path / "not" / "there"
    assert disks.find_existing(settings.BACKUP_DIR) == tmp_path.resolve()
    assert any("backups" in system.places for system in measure_file_systems())
