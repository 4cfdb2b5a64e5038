"""The list of all health checks: one component each; the worst status is the site's."""

from collections.abc import Callable
from typing import NamedTuple

from django.conf import settings

from memory_site.operations.health.advice import FIND_BROKER, FIND_DATABASE, START_COMMAND, START_WORKER
from memory_site.operations.health.backups import MAKE, check_backups
from memory_site.operations.health.clocks import check_clocks
from memory_site.operations.health.database import (
    CONNECTIONS_ADVICE,
    check_connections,
    check_database,
    check_nodes,
    check_parameters,
    check_pgvector,
)
from memory_site.operations.health.disk import check_disk
from memory_site.operations.health.embedding import (
    check_embedder,
    check_embedding_backlog,
    check_embedding_models,
    check_languages,
    check_vectors,
)
from memory_site.operations.health.integrity import check_integrity
from memory_site.operations.health.jobs import check_jobs
from memory_site.operations.health.maintenance import MAINTAIN, check_maintenance
from memory_site.operations.health.migrations import check_migrations
from memory_site.operations.health.processes import check_beat, check_broker, check_worker
from memory_site.operations.health.recovery import STATUS, check_recovery
from memory_site.operations.health.replicas import check_replicas
from memory_site.operations.health.results import CheckResult, HealthStatus
from memory_site.operations.health.schedules import check_schedules
from memory_site.operations.health.sessions import check_histories
from memory_site.operations.health.versions import check_versions
from memory_site.operations.health.wal import check_wal


class Check(NamedTuple):
    """A check, its status when it raises, and the command that mends what it finds."""

    run: Callable[[], CheckResult]
    when_failing: HealthStatus
    mend: str


CHECKS: dict[str, Check] = {
    "database": Check(check_database, HealthStatus.UNHEALTHY, FIND_DATABASE),
    "parameters": Check(check_parameters, HealthStatus.DEGRADED, "python manage.py migrate"),
    "connections": Check(check_connections, HealthStatus.DEGRADED, CONNECTIONS_ADVICE),
    "pgvector": Check(check_pgvector, HealthStatus.UNHEALTHY, "ALTER EXTENSION vector UPDATE"),
    "migrations": Check(check_migrations, HealthStatus.UNHEALTHY, "python manage.py migrate"),
    "nodes": Check(check_nodes, HealthStatus.DEGRADED, "start the node again"),
    "broker": Check(check_broker, HealthStatus.DEGRADED, FIND_BROKER),
    "worker": Check(check_worker, HealthStatus.DEGRADED, START_WORKER),
    "beat": Check(check_beat, HealthStatus.DEGRADED, START_WORKER),
    "embedder": Check(check_embedder, HealthStatus.DEGRADED, "see EMBEDDER in .env.example"),
    "embedding": Check(check_embedding_backlog, HealthStatus.DEGRADED, "python manage.py embedding_status"),
    "models": Check(check_embedding_models, HealthStatus.DEGRADED, "python manage.py reembed"),
    "languages": Check(check_languages, HealthStatus.DEGRADED, START_COMMAND),
    "vectors": Check(check_vectors, HealthStatus.DEGRADED, "python manage.py vacuum_vectors"),
    "histories": Check(check_histories, HealthStatus.DEGRADED, "put the lost key into SESSION_ENCRYPTION_KEYS"),
    "schedules": Check(check_schedules, HealthStatus.DEGRADED, START_WORKER),
    "jobs": Check(check_jobs, HealthStatus.DEGRADED, START_WORKER),
    "clocks": Check(check_clocks, HealthStatus.DEGRADED, "timedatectl set-ntp true, on that machine"),
    "versions": Check(check_versions, HealthStatus.HEALTHY, ""),
    "integrity": Check(check_integrity, HealthStatus.DEGRADED, "vacuumdb --all --freeze"),
    "wal": Check(check_wal, HealthStatus.DEGRADED, "see the log of PostgreSQL"),
    "backups": Check(check_backups, HealthStatus.DEGRADED, MAKE),
    "recovery": Check(check_recovery, HealthStatus.DEGRADED, STATUS),
    "maintenance": Check(check_maintenance, HealthStatus.DEGRADED, MAINTAIN),
    "disk": Check(check_disk, HealthStatus.DEGRADED, "df -h"),
}
READINESS_CHECKS: tuple[str, ...] = ("database", "pgvector", "migrations", "nodes")
if settings.REPLICAS:
    CHECKS["replicas"] = Check(check_replicas, HealthStatus.DEGRADED, "see docs/scaling/replicas.md")
    READINESS_CHECKS += ("replicas",)
