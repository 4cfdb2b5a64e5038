"""How the product is: one entry for each part, the worst one wins. Never raises, never hangs."""

import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from redis.backoff import NoBackoff
from redis.retry import Retry

from memories.embeddings import get_embedder
from memories.models import Memory
from memory_site.operations.models import Heartbeat
from sessions_app.commands import first_line
from sessions_app.encryption import HistoryUnreadable, Interaction, opened
from sessions_app.models import Namespace, SessionMemory

PATIENCE_SECONDS = 3.0
SILENCE = timedelta(seconds=40)  # two beats and a half
#: 0.8.2 ends an overflow in parallel index builds, 0.8.3 and 0.8.4 damage by vacuum.
OLDEST_PGVECTOR = (0, 8, 4)
OLDEST_POSTGRESQL = 150000
LEAST_FREE = 0.05
LOOKED_AT = 20


class Status(IntEnum):
    HEALTHY = 0
    DEGRADED = 1
    UNHEALTHY = 2


@dataclass
class Component:
    """One part: how it is, in words too, how long it took to find out, and what mends it."""

    name: str
    status: Status
    message: str
    mend: str = ""
    latency_ms: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"status": self.status.name.lower()}


Finding = tuple[Status, str]
START = "make run"


def database() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int, current_setting('server_version')")
        number, version = cursor.fetchone()
    if number < OLDEST_POSTGRESQL:
        return Status.UNHEALTHY, f"PostgreSQL {version} is too old: 15 is needed."
    return Status.HEALTHY, f"PostgreSQL {version}"


def pgvector() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        row = cursor.fetchone()
    if row is None:
        return Status.UNHEALTHY, "The extension vector is not installed."
    if tuple(int(part) for part in re.findall(r"\d+", row[0])[:3]) < OLDEST_PGVECTOR:
        return Status.UNHEALTHY, f"pgvector {row[0]} has known faults: 0.8.4 is needed."
    return Status.HEALTHY, f"pgvector {row[0]}"


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    return (Status.UNHEALTHY, f"{missing} migrations are missing.") if missing else (Status.HEALTHY, "All applied.")


def broker() -> Finding:
    with broker_client() as client:
        version = client.info("server")["redis_version"]
    return Status.HEALTHY, f"Answers (version {version})."


def broker_client() -> redis.Redis:
    """A client of Celery's broker that gives up after two seconds."""
    url = settings.CELERY_BROKER_URL.replace("redis+socket://", "unix://", 1)
    return redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))


def worker() -> Finding:
    return heard_of("worker")


def beat() -> Finding:
    return heard_of("beat")


def heard_of(name: str) -> Finding:
    age = Heartbeat.objects.age(name)
    if age is None:
        return Status.DEGRADED, "Was never seen."
    seconds = f"{max(age.total_seconds(), 0):.0f} s ago"
    return (Status.HEALTHY if age < SILENCE else Status.DEGRADED), f"Last seen {seconds}."


def embedder() -> Finding:
    get_embedder().ping()
    return Status.HEALTHY, f"{get_embedder().model} answers."


def backlog() -> Finding:
    refused, waiting = Memory.objects.refused().count(), Memory.objects.waiting().count()
    if refused:
        return Status.DEGRADED, f"{waiting} memories wait for their vector; the embedder refuses {refused}."
    return Status.HEALTHY, f"{waiting} memories wait for their vector."


def models() -> Finding:
    """Whether the configured model serves everywhere: after a change the old one does, until all is embedded anew."""
    current = get_embedder().model
    others = Namespace.objects.exclude(embedding_model=None).exclude(embedding_model=current)
    if names := list(others.values_list("name", flat=True)[:LOOKED_AT]):
        return Status.DEGRADED, f"{', '.join(names)}: not by {current}, which is configured, but by the model before."
    return Status.HEALTHY, f"{current} serves everywhere."


def histories() -> Finding:
    """Whether the sessions added to last can be read: a lost key is noticed here, and not by the next caller."""
    latest = SessionMemory.objects.order_by("-updated_at", "-id").values_list("history__-1", flat=True)[:LOOKED_AT]
    closed = sum(not can_be_opened(interaction) for interaction in latest if interaction)
    if closed:
        return Status.DEGRADED, f"{closed} of the sessions added to last are encrypted, and no key opens them."
    return Status.HEALTHY, "The sessions added to last can be read."


def can_be_opened(interaction: Interaction) -> bool:
    try:
        return bool(opened(interaction))
    except HistoryUnreadable:
        return False


def disk() -> Finding:
    place = settings.HOME.path if settings.EMBEDDED else Path(settings.BASE_DIR)
    usage = shutil.disk_usage(place)
    free = f"{usage.free / 2**30:.1f} GiB free"
    return (Status.HEALTHY if usage.free / usage.total > LEAST_FREE else Status.DEGRADED), f"{free}."


# What to look at, what a failure to look means, and the command that mends it.
CHECKS: dict[str, tuple[Callable[[], Finding], Status, str]] = {
    "database": (database, Status.UNHEALTHY, START),
    "pgvector": (pgvector, Status.UNHEALTHY, "ALTER EXTENSION vector UPDATE"),
    "migrations": (migrations, Status.UNHEALTHY, "python manage.py migrate"),
    "broker": (broker, Status.DEGRADED, START),
    "worker": (worker, Status.DEGRADED, START),
    "beat": (beat, Status.DEGRADED, START),
    "embedder": (embedder, Status.DEGRADED, "see EMBEDDER in .env.example"),
    "embedding": (backlog, Status.DEGRADED, "python manage.py embedding_status"),
    "models": (models, Status.DEGRADED, "python manage.py reembed"),
    "histories": (histories, Status.DEGRADED, "put the lost key into SESSION_ENCRYPTION_KEYS"),
    "disk": (disk, Status.DEGRADED, "free some space"),
}
NEEDED_TO_SERVE = ("database", "pgvector", "migrations")


def look(names: tuple[str, ...] = tuple(CHECKS)) -> list[Component]:
    """Look at the named parts side by side; nothing takes longer than PATIENCE_SECONDS."""
    found: dict[str, Component] = {}
    threads = [threading.Thread(target=examine, args=(name, found), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    until = time.monotonic() + PATIENCE_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return [found.get(name) or silent(name) for name in names]


def examine(name: str, found: dict[str, Component]) -> None:
    check, when_failing, mend = CHECKS[name]
    started = time.perf_counter()
    try:
        status, message = check()
    except Exception as error:  # whatever a part does when it is ill, we only say so
        status, message = when_failing, first_line(error)
    finally:
        connections.close_all()
    latency = round((time.perf_counter() - started) * 1000, 1)
    found[name] = Component(name, status, message, mend if status else "", latency)


def silent(name: str) -> Component:
    _, when_failing, mend = CHECKS[name]
    return Component(name, when_failing, f"No answer within {PATIENCE_SECONDS:.0f} s.", mend, PATIENCE_SECONDS * 1000)


def worst(components: list[Component]) -> Status:
    return max((component.status for component in components), default=Status.HEALTHY)
