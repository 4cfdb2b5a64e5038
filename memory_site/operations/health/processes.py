"""Health checks of the broker and of the processes of all machines."""

import re
from datetime import timedelta
from typing import NamedTuple

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from memory_site.operations.health.results import MAX_SAMPLED_ROWS, CheckResult, HealthStatus
from memory_site.operations.models import MAX_HEARTBEAT_AGE, Heartbeat, ProcessKind
from memory_site.operations.models.heartbeats import HeartbeatQuerySet


class Broker(NamedTuple):
    """Valkey or Redis, and its version."""

    name: str
    version: tuple[int, ...]


def check_broker() -> CheckResult:
    broker = read_broker()
    return HealthStatus.HEALTHY, f"Answers ({broker.name} {'.'.join(map(str, broker.version))})."


def read_broker() -> Broker:
    """Ask for the version. Valkey calls itself Redis 7.2.4 too, for clients that look."""
    with get_broker_client() as client:
        info = client.info("server")
    valkey = info.get("valkey_version")
    return Broker("Valkey" if valkey else "Redis", parse_version(valkey or info["redis_version"]))


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of the first three parts."""
    return tuple(int(match[0]) for part in text.split(".")[:3] if (match := re.match(r"\d+", part)))


def get_broker_client() -> redis.Redis:
    """Return a client of Celery's broker with a time limit of two seconds."""
    url = settings.CELERY_BROKER_URL.replace("redis+socket://", "unix://", 1)
    return redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))


def check_worker() -> CheckResult:
    """Check that every worker is there that has not stopped on purpose, on whatever machine."""
    workers = list(Heartbeat.objects.filter(kind=ProcessKind.WORKER).with_age())
    missing = [worker for worker in workers if worker.age > MAX_HEARTBEAT_AGE]
    if len(missing) == len(workers):
        return describe_latest(Heartbeat.objects.filter(kind=ProcessKind.WORKER))
    if missing:
        names = ", ".join(f"{worker.name} ({format_age(worker.age)})" for worker in missing[:MAX_SAMPLED_ROWS])
        return HealthStatus.DEGRADED, f"{len(missing)} of {len(workers)} workers are missing: {names}."
    count = f"{len(workers)} workers; the last one was seen" if len(workers) > 1 else "Last seen"
    return HealthStatus.HEALTHY, f"{count} {format_age(workers[-1].age)}."


def check_beat() -> CheckResult:
    """Check the heartbeat that beat sends and a worker notes; those of the processes only say that they run."""
    return describe_latest(Heartbeat.objects.filter(name=ProcessKind.BEAT))


def describe_latest(heartbeats: HeartbeatQuerySet) -> CheckResult:
    """Return whether the latest heartbeat is recent, and its age."""
    latest = heartbeats.with_age().first()
    if latest is None:
        return HealthStatus.DEGRADED, "Never seen, or stopped."
    status = HealthStatus.HEALTHY if latest.age < MAX_HEARTBEAT_AGE else HealthStatus.DEGRADED
    return status, f"Last seen {format_age(latest.age)}."


def format_age(age: timedelta) -> str:
    return f"{max(age.total_seconds(), 0):.0f} s ago"
