"""A worker makes the clones that the console asked for, and shows how far it is."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import shared_task
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models.functions import Now

from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.leases.leases import hold_lease
from memory_site.core.leases.models import Lease
from memory_site.operations.models import CloneState, NamespaceClone
from memory_site.operations.namespaces.clone import clone_namespace, count_rows_to_copy
from memory_site.operations.namespaces.names import NamespaceProblem
from sessions_app.models import Namespace

log = logging.getLogger(__name__)
UNEXPECTED = "Failed with an unexpected error; see the worker's log. Nothing was copied."
GONE = "The namespace is not there any more."
PROGRESS_INTERVAL_SECONDS = 0.5
SET_ROWS_SQL = "UPDATE operations_namespaceclone SET rows_done = %s WHERE id = %s"


def name_lease(pk: object) -> str:
    return f"clone {pk}"


def is_working(clone: NamespaceClone) -> bool:
    """Return whether a worker makes this clone now, or has not had the time to begin."""
    return Lease.objects.filter(name=name_lease(clone.pk), expires_at__gt=Now()).exists()


@shared_task
def make_clone(pk: str) -> None:
    """Make one clone. One that was cut off has left nothing, and is made from its beginning."""
    try:
        with hold_lease(name_lease(pk)):
            clone = NamespaceClone.objects.filter(pk=pk).exclude(state=CloneState.FINISHED).first()
            if clone is not None:
                run(clone)
    except AlreadyRunning:
        log.info("Another worker makes this clone.")


def run(clone: NamespaceClone) -> None:
    rows = NamespaceClone.objects.filter(pk=clone.pk)
    rows.update(state=CloneState.RUNNING, error="", rows_done=0, finished_at=None)
    try:
        copy_rows(clone)
    except NamespaceProblem as problem:
        rows.update(state=CloneState.FAILED, error=f"{problem} Nothing was copied.", finished_at=Now())
    except Exception:
        log.exception("The clone %s failed", clone.pk)
        rows.update(state=CloneState.FAILED, error=UNEXPECTED, finished_at=Now())
    else:
        rows.update(state=CloneState.FINISHED, finished_at=Now())


def copy_rows(clone: NamespaceClone) -> None:
    """Copy the rows in one transaction. Raises NamespaceProblem."""
    source = Namespace.objects.filter(pk=clone.source_id).first()
    if source is None:
        raise NamespaceProblem(GONE)
    NamespaceClone.objects.filter(pk=clone.pk).update(rows_total=count_rows_to_copy(source.pk))
    done = 0
    with showing_progress(clone) as show:
        for rows in clone_namespace(source, clone.name):
            done += rows
            show(done)
    NamespaceClone.objects.filter(pk=clone.pk).update(rows_done=done)


@contextmanager
def showing_progress(clone: NamespaceClone) -> Iterator[Callable[[int], None]]:
    """Provide a function that stores the number of copied rows on a connection of its own: the transaction of the clone
    shows nothing before its end."""
    connection: Any = connections.create_connection(DEFAULT_DB_ALIAS)
    shown = time.monotonic()

    def show(done: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= PROGRESS_INTERVAL_SECONDS:
            with connection.cursor() as cursor:
                cursor.execute(SET_ROWS_SQL, [done, clone.pk])
            shown = time.monotonic()

    try:
        yield show
    finally:
        connection.close()
