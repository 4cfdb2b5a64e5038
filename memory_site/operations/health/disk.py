"""The health check of the disk."""

import shutil
from pathlib import Path

from django.conf import settings

from memory_site.operations.health.results import CheckResult, HealthStatus

MIN_FREE_DISK_SHARE = 0.05


def check_disk() -> CheckResult:
    place = settings.HOME.path if settings.EMBEDDED else Path(settings.BASE_DIR)
    usage = shutil.disk_usage(place)
    free = f"{usage.free / 2**30:.1f} GiB free"
    return (
        HealthStatus.HEALTHY if usage.free / usage.total > MIN_FREE_DISK_SHARE else HealthStatus.DEGRADED
    ), f"{free}."
