"""Figures of the processes of all machines, of the health checks, the replicas, and this machine's disks."""

import math
from collections import Counter
from collections.abc import Iterator

from memory_site.core.db.replicas import replicas
from memory_site.operations.disks import measure_file_systems
from memory_site.operations.health.results import worst_status
from memory_site.operations.health.runner import check_components
from memory_site.operations.metrics.figures import Figure, Value
from memory_site.operations.models import MAX_HEARTBEAT_AGE, Heartbeat, ProcessKind

HEARTBEATS = Figure(
    "heartbeats", "Processes of all machines by kind, alive or missing: killed, or not reachable.", ("kind", "state")
)
LAST_HEARTBEAT = Figure("heartbeat_age_seconds", "Age of the latest heartbeat of each kind.", ("kind",))
HEALTH = Figure("health", "Worst status of all health checks: 0 healthy, 1 degraded, 2 unhealthy.")
COMPONENT = Figure("health_status", "Status of a health check: 0 healthy, 1 degraded, 2 unhealthy.", ("component",))
LAG = Figure("replica_lag_seconds", "How old the data of a replica are at most.", ("replica",))
IS_READ = Figure(
    "replica_read", "Whether a replica is read: 1, or 0 when it is away, behind or no standby.", ("replica",)
)
FREE = Figure("disk_free_bytes", "Free space of the file system that holds a directory of the site.", ("place",))
TOTAL = Figure("disk_size_bytes", "Size of that file system.", ("place",))
HEARTBEAT_FIGURES, HEALTH_FIGURES = (HEARTBEATS, LAST_HEARTBEAT), (HEALTH, COMPONENT)
REPLICA_FIGURES, DISK_FIGURES = (LAG, IS_READ), (FREE, TOTAL)


def read_heartbeats() -> Iterator[Value]:
    """Yield the numbers of living and missing processes by kind, and the age of the latest heartbeat in seconds."""
    numbers: Counter[tuple[str, bool]] = Counter()
    ages: dict[str, float] = {}
    for heartbeat in Heartbeat.objects.with_age():
        if heartbeat.name != ProcessKind.BEAT:  # what beat, broker and worker said together, not a process
            numbers[heartbeat.kind, heartbeat.age < MAX_HEARTBEAT_AGE] += 1
        ages.setdefault(heartbeat.kind, max(heartbeat.age.total_seconds(), 0.0))
    for kind in ProcessKind.values:
        yield HEARTBEATS.value(numbers[kind, True], kind, "alive")
        yield HEARTBEATS.value(numbers[kind, False], kind, "missing")
    for kind, age in ages.items():
        yield LAST_HEARTBEAT.value(age, kind)


def read_health() -> Iterator[Value]:
    components = check_components()
    yield HEALTH.value(worst_status(components))
    for component in components:
        yield COMPONENT.value(component.status, component.name)


def read_replicas() -> Iterator[Value]:
    for state in replicas.inspect():
        yield IS_READ.value(not state.reason, state.replica.alias)
        if math.isfinite(state.lag):
            yield LAG.value(state.lag, state.replica.alias)


def read_disks() -> Iterator[Value]:
    for system in measure_file_systems():
        for place in system.places:
            yield FREE.value(system.free, place)
            yield TOTAL.value(system.total, place)
