"""Background work namespace by namespace: one that is stuck, or whose part of the database is away, stops no other."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import DatabaseError, connection
from django.db.models import QuerySet

from sessions_app.models import Namespace

log = logging.getLogger(__name__)
Found = TypeVar("Found")


class NamespacesFailed(Exception):
    """Work that was done for some namespaces, and failed for others."""


class Failures:
    """The namespaces in which a piece of work failed. Each failure is logged with the namespace's name."""

    def __init__(self, work: str) -> None:
        self.work = work
        self.names: dict[int, str] = {}

    @contextmanager
    def expected(self, namespace_id: int) -> Iterator[None]:
        """Log an error inside the block instead of raising it. Raises OperationalError if the whole database is away:
        then no namespace can be served."""
        try:
            yield
        except Exception as error:
            reconnect()
            self.names[namespace_id] = name = find_name(namespace_id)
            log.error("%s failed in the namespace %s", self.work, name, exc_info=error)

    def raise_if_any(self) -> None:
        """Raise NamespacesFailed with the names of all."""
        if self.names:
            raise NamespacesFailed(f"{self.work} failed in {', '.join(sorted(self.names.values()))}; see the log.")


def for_each_namespace(work: Callable[[int], int], namespaces: Iterable[int]) -> int:
    """Do the work for each namespace, which it gets by its id. Return the sum of its results.

    Raises NamespacesFailed at the end if the work raised in some; OperationalError at once if the database is away.
    """
    failures, total = Failures(getattr(work, "func", work).__name__), 0
    for namespace_id in namespaces:
        with failures.expected(namespace_id):
            total += work(namespace_id)
    failures.raise_if_any()
    return total


def find_namespaces(rows: QuerySet) -> list[int]:
    """Return the ids of the namespaces that have such rows.

    One statement looks into all of them, so that a thousand idle ones cost nothing. Where a part of the database is
    away, it fails: then all namespaces are returned, and each is looked into by itself.
    """
    return look_into_all(
        lambda: list(rows.order_by("namespace_id").values_list("namespace_id", flat=True).distinct()),
        lambda: list(Namespace.objects.order_by("pk").values_list("pk", flat=True)),
    )


def look_into_all(look: Callable[[], list[Found]], list_all: Callable[[], list[Found]]) -> list[Found]:
    """Return what one statement finds in all namespaces, or all of them where a part of the database is away."""
    try:
        return look()
    except DatabaseError as error:
        reconnect()
        log.warning("Not every namespace can be looked into: %s", error)
        return list_all()


def reconnect() -> None:
    """Replace a connection that an error has ended. Raises OperationalError if the database does not answer."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
        connection.ensure_connection()


def find_name(namespace_id: int) -> str:
    return Namespace.objects.values_list("name", flat=True).filter(pk=namespace_id).first() or str(namespace_id)
