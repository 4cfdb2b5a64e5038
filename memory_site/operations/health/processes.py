"""Health checks of the broker and of the processes of all machines."""

from datetime import timedelta

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from memory_site.operations.health.results import MAX_SAMPLED_ROWS, CheckResult, HealthStatus
from memory_site.operations.models import MAX_HEARTBEAT_AGE, Heartbeat, ProcessKind


def check_broker() -> CheckResult:
    with get_broker_client() as client:
        version = client.info("server")["redis_version"]
    return HealthStatus.HEALTHY, f"Answers (version {version})."


def get_broker_client() -> redis.Redis:
    """Return a client of Celery's broker with a time limit of two seconds."""
    url = settings.CELERY_BROKER_URL.replace("redis+socket://", "unix://", 1)
    return redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))


def check_worker() -> CheckResult:
    """Check that every worker is there that has not stopped on purpose, on whatever machine."""
    workers = list(Heartbeat.objects.filter(kind=ProcessKind.WORKER).with_age())
    missing = [worker for worker in workers if worker.age > MAX_HEARTBEAT_AGE]
    if len(missing) == len(workers):
        return check_heartbeat(ProcessKind.WORKER)
    if missing:
        names = ", ".join(f"{worker.name} ({format_age(worker.age)})" for worker in missing[:MAX_SAMPLED_ROWS])
        return HealthStatus.DEGRADED, f"{len(missing)} of {len(workers)} workers are missing: {names}."
    count = f"{len(workers)} workers; the last one was seen" if len(workers) > 1 else "Last seen"
    return HealthStatus.HEALTHY, f"{count} {format_age(workers[-1].age)}."


def check_beat() -> CheckResult:
    return check_heartbeat(ProcessKind.BEAT)


def check_heartbeat(kind: ProcessKind) -> CheckResult:
    latest = Heartbeat.objects.filter(kind=kind).with_age().first()
    if latest is None:
        return HealthStatus.DEGRADED, "Never seen, or stopped."
    status = HealthStatus.HEALTHY if latest.age < MAX_HEARTBEAT_AGE else HealthStatus.DEGRADED
    return status, f"Last seen {format_age(latest.age)}."


def format_age(age: timedelta) -> str:
    return f"{max(age.total_seconds(), 0):.0f} s ago"
