"""Versions of what the site runs on, and the length of the broker's queue, for the console's health page."""

import platform
from collections.abc import Callable
from contextlib import suppress

import django
from django.conf import settings
from django.db import connection

from memory_site import __version__
from memory_site.operations.health.processes import get_broker_client, read_broker
from memory_site.operations.health.versions import format_version

UNKNOWN = "not known: it does not answer"


def collect_facts() -> dict[str, str]:
    """Return names and values. What does not answer is said not to be known."""
    facts = {"Memory Site": __version__, "Python": platform.python_version(), "Django": django.__version__}
    try:
        return facts | {name: read_fact(read) for name, read in FACTS.items()}
    finally:
        connection.close()


def read_fact(read: Callable[[], str]) -> str:
    with suppress(Exception):  # whatever is away: its check says what and why
        return read()
    return UNKNOWN


def read_postgresql() -> str:
    return fetch_text("SELECT current_setting('server_version')")


def read_pgvector() -> str:
    return fetch_text("SELECT extversion FROM pg_extension WHERE extname = 'vector'")


def fetch_text(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def describe_broker() -> str:
    broker = read_broker()
    return f"{broker.name} {format_version(broker.version)}"


def count_messages() -> str:
    """Return how many messages wait for a worker."""
    with get_broker_client() as client:
        return f"{client.llen(settings.CELERY_TASK_DEFAULT_QUEUE):,} messages wait"


FACTS = {
    "PostgreSQL": read_postgresql,
    "pgvector": read_pgvector,
    "Broker": describe_broker,
    "Queue of the broker": count_messages,
}
