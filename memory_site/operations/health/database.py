"""Health checks of the database: versions, settings and number of its connections, and the nodes of a cluster."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.conf import settings
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Sum
from django.db.utils import ConnectionHandler

from memory_site.core.db.cluster import Node, is_citus, list_nodes
from memory_site.core.db.server_settings import POOLER_ADVICE, find_wrong_settings, is_pooled
from memory_site.operations.health.results import CheckResult, HealthStatus
from memory_site.operations.models import Heartbeat

#: 0.8.2 fixes an overflow in parallel index builds, 0.8.3 and 0.8.4 fix corruption by vacuum.
MIN_PGVECTOR_VERSION = (0, 8, 4)
CONNECTIONS_ADVICE = "lower PG_POOL_SIZE or WEB_WORKERS, raise max_connections, or put PgBouncer between"
WEB_ROLE_ADVICE = "a role of its own for the web server, see docs/scaling/several-machines.md"
#: Connections for beat, commands and an administrator, besides those of web servers and workers.
SPARE_CONNECTIONS = 5
# PostgreSQL before 16 has no reserved_connections.
SELECT_CAPACITY_SQL = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
     - coalesce(current_setting('reserved_connections', true), '0')::int
"""


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


def check_parameters() -> CheckResult:
    """Check that the settings of the server that the statements rely on are in force, here and for the web server."""
    if is_pooled(connection) and not settings.DATABASE_POOLER:
        return HealthStatus.DEGRADED, POOLER_ADVICE, "DATABASE_POOLER=transaction in .env"
    if wrong := describe_wrong_settings(connection, settings.SERVER_SETTINGS):
        return HealthStatus.DEGRADED, wrong
    return check_web_parameters()


def check_web_parameters() -> CheckResult:
    """Check the web server's time limits behind a pooler, which come with its role."""
    if settings.DATABASE_POOLER and not settings.WEB_DATABASE:
        return HealthStatus.DEGRADED, "The web server's statements have no time limit.", WEB_ROLE_ADVICE
    if settings.WEB_DATABASE:
        with connect_as_web_server() as web:
            if wrong := describe_wrong_settings(web, settings.WEB_SERVER_SETTINGS):
                return HealthStatus.DEGRADED, f"In the web server: {wrong}"
    return HealthStatus.HEALTHY, f"All {len(settings.SERVER_SETTINGS)} are in force."


def check_nodes() -> CheckResult:
    """Check that every node of a Citus cluster answers. One that does not takes only its namespaces away."""
    nodes = list_nodes() if is_citus() else []
    away = [node for node in nodes if not node.answers]
    if away:
        return HealthStatus.DEGRADED, f"{'; '.join(map(describe_away, away))}. The others go on."
    return HealthStatus.HEALTHY, f"{len(nodes)} answer." if nodes else "One server."


def describe_away(node: Node) -> str:
    return f"{node.address} does not answer, {node.namespaces} namespaces are on it"


def describe_wrong_settings(connection: BaseDatabaseWrapper, wanted: Mapping[str, str]) -> str:
    wrong = find_wrong_settings(connection, wanted)
    return f"{', '.join(map(str, wrong))}." if wrong else ""


@contextmanager
def connect_as_web_server() -> Iterator[BaseDatabaseWrapper]:
    """Provide a connection by WEB_DATABASE_URL inside the block."""
    web = ConnectionHandler({"default": settings.WEB_DATABASE})["default"]
    try:
        yield web
    finally:
        web.close()


def check_connections() -> CheckResult:
    """Check that PostgreSQL has a connection for each that the live processes of all machines may open."""
    alive = Heartbeat.objects.alive()
    needed = SPARE_CONNECTIONS + (alive.aggregate(sum=Sum("connections"))["sum"] or 0)
    if settings.DATABASE_POOLER:
        return HealthStatus.HEALTHY, f"{alive.count()} processes may open {needed} to the pooler, which bounds its own."
    with connection.cursor() as cursor:
        cursor.execute(SELECT_CAPACITY_SQL)
        [capacity] = cursor.fetchone()
    status = HealthStatus.HEALTHY if needed <= capacity else HealthStatus.DEGRADED
    return status, f"{alive.count()} processes may open {needed}; PostgreSQL has {capacity}."
