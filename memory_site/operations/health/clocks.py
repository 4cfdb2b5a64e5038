"""The health check of the clocks: of every process, of whatever machine, against the database's."""

from memory_site.core.db.clocks import measure_clock_offset
from memory_site.operations.health.results import MAX_SAMPLED_ROWS, CheckResult, HealthStatus
from memory_site.operations.models import Heartbeat

#: A message of a frequent task expires after 15 seconds, by the clocks of two machines.
MAX_OFFSET_SECONDS = 5.0


def check_clocks() -> CheckResult:
    """Check that no process's clock differs much from the database's, which decides what has expired.

    A process whose clock is wrong refuses times that are right, and drops tasks as too old or runs them at other hours.
    """
    offsets = dict(Heartbeat.objects.alive().values_list("name", "clock_offset"))
    offsets["this process"] = measure_clock_offset()
    wrong = {name: offset for name, offset in offsets.items() if abs(offset) > MAX_OFFSET_SECONDS}
    if wrong:
        names = ", ".join(describe(name, offset) for name, offset in list(wrong.items())[:MAX_SAMPLED_ROWS])
        return HealthStatus.DEGRADED, f"{names} of the database's clock; expiry and schedules go wrong."
    largest = max(map(abs, offsets.values()))
    return HealthStatus.HEALTHY, f"{len(offsets)} processes differ by {largest:.1f} s at most from the database."


def describe(name: str, offset: float) -> str:
    return f"{name} is {abs(offset):.0f} s {'ahead' if offset > 0 else 'behind'}"
