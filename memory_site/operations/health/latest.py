"""The last results of all health checks, for pages: a component that is away makes no page wait for it."""

import threading
import time
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from memory_site.core.caches import Cache
from memory_site.operations.health.facts import collect_facts
from memory_site.operations.health.results import Component, HealthStatus, worst_status
from memory_site.operations.health.runner import check_components

#: Results are checked again by the first page after so long; it shows the old ones meanwhile.
MAX_AGE_SECONDS = 30
#: A page waits so long for the first results of its process. A healthy site answers in less.
FIRST_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class HealthReport:
    """The components, and when they were checked."""

    components: list[Component]
    facts: dict[str, str] = field(default_factory=dict)
    at: datetime = field(default_factory=timezone.now)
    checked_at: float = field(default_factory=time.monotonic)

    @property
    def status(self) -> HealthStatus:
        return worst_status(self.components)

    def list_failing(self) -> list[Component]:
        """Return the components that are not healthy, the worst first."""
        return sorted((each for each in self.components if each.status), key=lambda each: -each.status)

    def count(self, status: HealthStatus) -> int:
        return sum(each.status is status for each in self.components)


_latest: Cache[str, HealthReport] = Cache(1)
_starting = threading.Lock()
_checking: threading.Thread | None = None


def get_latest_report() -> HealthReport | None:
    """Return the last report, or None while the first checks run. Starts the checks again when it is old."""
    report = _latest.get("report")
    if report is None or time.monotonic() - report.checked_at > MAX_AGE_SECONDS:
        thread = start_checks()
        if report is None:
            thread.join(FIRST_WAIT_SECONDS)
            report = _latest.get("report")
    return report


def check_again(max_wait_seconds: float) -> HealthReport | None:
    """Run the checks now and return their report, or the last one if they take longer."""
    start_checks().join(max_wait_seconds)
    return _latest.get("report")


def keep_report(report: HealthReport) -> None:
    _latest.set("report", report)


def run_checks() -> None:
    keep_report(HealthReport(check_components(), collect_facts()))


def start_checks() -> threading.Thread:
    """Return the thread that runs the checks; there is one at a time."""
    global _checking
    with _starting:
        if _checking is None or not _checking.is_alive():
            _checking = threading.Thread(target=run_checks, name="health", daemon=True)
            _checking.start()
        return _checking
