"""The health check of the file systems that the site writes to."""

import math

from django.conf import settings

from memory_site.core.admin.formatting import format_size
from memory_site.core.disk_space import RESERVED_BYTES
from memory_site.operations.disks import FileSystem, forecast_days, measure_file_systems
from memory_site.operations.health.results import CheckResult, HealthStatus

#: Little is a share that is also few bytes: 5 % of ten terabytes is no reason for a call.
MIN_FREE_SHARE, MIN_FREE_BYTES = 0.05, 20 * 2**30
#: Days ahead that are a fault, and that are worth a word.
FULL_SOON_DAYS, FULL_LATER_DAYS = 7.0, 90.0


def check_disk() -> CheckResult:
    """Check that every file system has space, now and in a week at the present rate."""
    systems = measure_file_systems()
    statuses, messages = zip(*map(check_file_system, systems), strict=True)
    worst = max(statuses)
    return worst, " ".join(messages), mend(systems[statuses.index(worst)]) if worst else ""


def check_file_system(system: FileSystem) -> tuple[HealthStatus, str]:
    """Return the status of a file system, and the sentence about it."""
    days = forecast_days(system)
    forecast = describe_forecast(days)
    where = f" at {system.path} ({system.names})"
    space = f"{format_size(system.free)} of {format_size(system.total)} free{where}"
    if system.read_only:
        return HealthStatus.UNHEALTHY, f"Read-only{where}."
    if system.free < RESERVED_BYTES and ("data" in system.places or is_little(system)):
        return HealthStatus.UNHEALTHY, f"Full: {space}."
    if system.free_inodes < MIN_FREE_SHARE:
        return HealthStatus.DEGRADED, f"{system.free_inodes:.1%} of the inodes are free{where}."
    little = is_little(system) or (days is not None and days < FULL_SOON_DAYS)
    return HealthStatus.DEGRADED if little else HealthStatus.HEALTHY, f"{space}{forecast}."


def is_little(system: FileSystem) -> bool:
    return system.free < min(MIN_FREE_SHARE * system.total, MIN_FREE_BYTES)


def describe_forecast(days: float | None) -> str:
    if days is None or days > FULL_LATER_DAYS:
        return ""
    return f", full in about {math.ceil(days)} day{'s' if days > 1 else ''} at the present rate"


def mend(system: FileSystem) -> str:
    """Return what frees space: what the site may delete first, then what only the operator knows."""
    if system.read_only:
        return f"mount -o remount,rw {system.path}"
    du = f"du -xh {system.path} | sort -h | tail -n 20"
    if settings.EMBEDDED and "data" in system.places:
        return f"python manage.py rotate_backups, or enlarge the disk; {du}"
    return f"enlarge the disk, or delete what is not needed; {du}"
