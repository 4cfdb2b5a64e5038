"""Health checks: one component each; the worst status is the site's. `check_runner` runs them with a time limit."""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

import redis
from django.apps import apps
from django.conf import settings
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from redis.backoff import NoBackoff
from redis.retry import Retry

from memories.embeddings import get_embedder
from memories.languages import sample_languages
from memories.models import Memory
from memories.vacuum import MIN_DEAD_ROWS, Part, count_vector_rows, list_parts
from memory_site.operations.check_results import CheckResult, Component, HealthStatus
from memory_site.operations.database_checks import check_connections, check_nodes, check_parameters
from memory_site.operations.models import MAX_HEARTBEAT_AGE, Heartbeat, ProcessKind
from memory_site.operations.replica_checks import check_replicas
from sessions_app.commands import get_first_line
from sessions_app.encryption import HistoryUnreadable, Interaction, decrypt
from sessions_app.models import Namespace, SessionMemory

#: 0.8.2 fixes an overflow in parallel index builds, 0.8.3 and 0.8.4 fix corruption by vacuum.
MIN_PGVECTOR_VERSION = (0, 8, 4)
MIN_FREE_DISK_SHARE = 0.05
#: Of all rows with a vector. The worker vacuums long before.
MAX_DEAD_SHARE = 0.2
MAX_SAMPLED_ROWS = 20
#: Texts in other languages than English from which another model is recommended.
MIN_FOREIGN_TEXTS, MIN_FOREIGN_SHARE = 10, 0.2


#: In embedded mode `serve` runs everything; otherwise each machine has a part, and the servers are not the site's own.
START_COMMAND = "make run" if settings.EMBEDDED else "python manage.py serve"
START_WORKER = START_COMMAND if settings.EMBEDDED else "python manage.py serve --no-web"
FIND_DATABASE, FIND_BROKER = (
    START_COMMAND if settings.EMBEDDED else f"start the server, or correct {name}"
    for name in ("DATABASE_URL", "REDIS_URL")
)
CONNECTIONS_ADVICE = "lower PG_POOL_SIZE or WEB_WORKERS, raise max_connections, or put PgBouncer between"


def check_database() -> CheckResult:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        return HealthStatus.HEALTHY, f"PostgreSQL {cursor.fetchone()[0]}"


def check_pgvector() -> CheckResult:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        row = cursor.fetchone()
    if row is None:
        return HealthStatus.UNHEALTHY, "The extension vector is not installed."
    if tuple(int(part) for part in re.findall(r"\d+", row[0])[:3]) < MIN_PGVECTOR_VERSION:
        return HealthStatus.UNHEALTHY, f"pgvector {row[0]} has known faults: 0.8.4 is needed."
    return HealthStatus.HEALTHY, f"pgvector {row[0]}"


def check_migrations() -> CheckResult:
    if missing := count_missing_migrations():
        return HealthStatus.UNHEALTHY, f"{missing} migrations are missing."
    return HealthStatus.HEALTHY, "All applied."


def count_missing_migrations() -> int:
    """Count migrations that `migrate` would apply.

    Importing all of them takes a second on a busy machine, so it is done only if a file's name is not recorded.
    """
    recorded = MigrationRecorder(connection).applied_migrations()
    if all((label, name) in recorded for label, name in list_migration_files()):
        return 0
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def list_migration_files() -> Iterator[tuple[str, str]]:
    """Yield app label and name of each migration of the installed apps."""
    for app in apps.get_app_configs():
        module, _ = MigrationLoader.migrations_module(app.label)
        spec = find_spec(module) if module else None
        for file in iter_modules(spec.submodule_search_locations if spec else ()):
            if not file.ispkg and file.name[0] not in "_~":
                yield app.label, file.name


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


def check_embedder() -> CheckResult:
    get_embedder().ping()
    return HealthStatus.HEALTHY, f"{get_embedder().model} answers."


def check_embedding_backlog() -> CheckResult:
    refused, waiting = Memory.objects.refused().count(), Memory.objects.waiting().count()
    if refused:
        return HealthStatus.DEGRADED, f"{waiting} memories wait for their vector; the embedder refuses {refused}."
    return HealthStatus.HEALTHY, f"{waiting} memories wait for their vector."


def check_embedding_models() -> CheckResult:
    """Check that the configured model serves every namespace; after a change the old one serves until re-embedding."""
    current = get_embedder().model
    others = Namespace.objects.exclude(embedding_model=None).exclude(embedding_model=current)
    if names := list(others.values_list("name", flat=True)[:MAX_SAMPLED_ROWS]):
        return (
            HealthStatus.DEGRADED,
            f"{', '.join(names)}: still served by an earlier model than {current}, which is configured.",
        )
    return HealthStatus.HEALTHY, f"{current} serves every namespace."


def check_languages() -> CheckResult:
    """Recommend a multilingual model when many texts are not in the only language of the configured one."""
    embedder = get_embedder()
    if not embedder.known.english_only:
        return HealthStatus.HEALTHY, f"{embedder.model} is not limited to English."
    languages = sample_languages()
    if languages.foreign < MIN_FOREIGN_TEXTS or languages.foreign < MIN_FOREIGN_SHARE * languages.recognised:
        return HealthStatus.HEALTHY, f"The texts fit {embedder.model}, which knows English."
    return (
        HealthStatus.HEALTHY,
        f"{languages.foreign} of the latest {languages.recognised} texts are not in English.",
        "EMBEDDER=multilingual in .env, then python manage.py reembed",
    )


def check_vectors() -> CheckResult:
    """Check that deleted vectors were removed from the index: among many of them searches fall back to a full scan."""
    parts = list_parts()
    if full := [part for part in parts if part.rows.dead >= MIN_DEAD_ROWS and part.rows.dead_share > MAX_DEAD_SHARE]:
        return HealthStatus.DEGRADED, f"{describe_deleted(full)}, but not removed."
    if any(part.list_leftover_indexes() for part in parts):
        return HealthStatus.DEGRADED, "A rebuild of the index was interrupted and left an invalid index."
    return HealthStatus.HEALTHY, f"{describe_deleted(parts)}."


def describe_deleted(parts: Sequence[Part]) -> str:
    rows = count_vector_rows(parts)
    return f"{rows.dead:,} of {rows.live + rows.dead:,} vectors are deleted"


def check_histories() -> CheckResult:
    """Check that the latest sessions can be decrypted, so that a lost key is noticed here and not by a client."""
    latest = SessionMemory.objects.order_by("-updated_at", "-id").values_list("history__-1", flat=True)[
        :MAX_SAMPLED_ROWS
    ]
    unreadable = sum(not can_decrypt(interaction) for interaction in latest if interaction)
    if unreadable:
        return HealthStatus.DEGRADED, f"{unreadable} of the latest sessions are encrypted, and no key decrypts them."
    return HealthStatus.HEALTHY, "The latest sessions can be read."


def can_decrypt(interaction: Interaction) -> bool:
    try:
        return bool(decrypt(interaction))
    except HistoryUnreadable:
        return False


def check_disk() -> CheckResult:
    place = settings.HOME.path if settings.EMBEDDED else Path(settings.BASE_DIR)
    usage = shutil.disk_usage(place)
    free = f"{usage.free / 2**30:.1f} GiB free"
    return (
        HealthStatus.HEALTHY if usage.free / usage.total > MIN_FREE_DISK_SHARE else HealthStatus.DEGRADED
    ), f"{free}."


# The check, the status when it raises, and the command that fixes it.
CHECKS: dict[str, tuple[Callable[[], CheckResult], HealthStatus, str]] = {
    "database": (check_database, HealthStatus.UNHEALTHY, FIND_DATABASE),
    "parameters": (check_parameters, HealthStatus.DEGRADED, "python manage.py migrate"),
    "connections": (check_connections, HealthStatus.DEGRADED, CONNECTIONS_ADVICE),
    "pgvector": (check_pgvector, HealthStatus.UNHEALTHY, "ALTER EXTENSION vector UPDATE"),
    "migrations": (check_migrations, HealthStatus.UNHEALTHY, "python manage.py migrate"),
    "nodes": (check_nodes, HealthStatus.DEGRADED, "start the node again"),
    "broker": (check_broker, HealthStatus.DEGRADED, FIND_BROKER),
    "worker": (check_worker, HealthStatus.DEGRADED, START_WORKER),
    "beat": (check_beat, HealthStatus.DEGRADED, START_WORKER),
    "embedder": (check_embedder, HealthStatus.DEGRADED, "see EMBEDDER in .env.example"),
    "embedding": (check_embedding_backlog, HealthStatus.DEGRADED, "python manage.py embedding_status"),
    "models": (check_embedding_models, HealthStatus.DEGRADED, "python manage.py reembed"),
    "languages": (check_languages, HealthStatus.DEGRADED, START_COMMAND),
    "vectors": (check_vectors, HealthStatus.DEGRADED, "python manage.py vacuum_vectors"),
    "histories": (check_histories, HealthStatus.DEGRADED, "put the lost key into SESSION_ENCRYPTION_KEYS"),
    "disk": (check_disk, HealthStatus.DEGRADED, "free some space"),
}
READINESS_CHECKS: tuple[str, ...] = ("database", "pgvector", "migrations", "nodes")
if settings.REPLICAS:
    CHECKS["replicas"] = (check_replicas, HealthStatus.DEGRADED, "see docs/scaling/replicas.md")
    READINESS_CHECKS += ("replicas",)


def run_check(name: str) -> Component:
    """Run one check in this thread. An error that it raises is its result."""
    check, when_failing, mend = CHECKS[name]
    started = time.perf_counter()
    advice: Sequence[str] = ()
    try:
        status, message, *advice = check()
    except Exception as error:  # any failure of a component is a finding, not an error here
        status, message = when_failing, get_first_line(error)
    finally:
        connections.close_all()
    latency = round((time.perf_counter() - started) * 1000, 1)
    return Component(name, status, message, "".join(advice) or (mend if status else ""), latency)


def worst_status(components: list[Component]) -> HealthStatus:
    return max((component.status for component in components), default=HealthStatus.HEALTHY)
