"""The erasures that the database has recorded, each in the transaction that erased."""

from collections.abc import Callable, Iterator
from uuid import UUID

from django.db import ProgrammingError, transaction
from psycopg.errors import UndefinedTable

from memories.graph.models import Erasure
from memory_site.operations.erasures.entries import Entry, Kind
from sessions_app.models import ErasedNamespace


def list_recorded() -> list[Entry]:
    """Return all, oldest first. A database that an earlier release migrated may have but one of the tables, or none."""
    found = [*list_if_there(iter_users), *list_if_there(iter_namespaces)]
    return sorted(found, key=lambda entry: entry.at)


def list_if_there(read: Callable[[], Iterator[Entry]]) -> list[Entry]:
    try:
        with transaction.atomic():
            return list(read())
    except ProgrammingError as error:
        if isinstance(error.__cause__, UndefinedTable):
            return []
        raise


def list_recorded_ids() -> set[UUID]:
    return {entry.id for entry in list_recorded()}


def iter_users() -> Iterator[Entry]:
    for line in Erasure.objects.all():
        yield Entry(
            line.id,
            Kind.USER,
            line.namespace_id,
            line.created_at,
            bytes(line.user_digest),
            line.requested_by,
            line.erased,
        )


def iter_namespaces() -> Iterator[Entry]:
    for line in ErasedNamespace.objects.all():
        kind = Kind.NAMESPACE if line.deleted else Kind.ROWS
        yield Entry(line.id, kind, line.erased_id, line.created_at)


def record_again(entry: Entry) -> None:
    """Record an erasure that the database does not know, as it was recorded first."""
    if entry.kind == Kind.USER:
        record_user(entry)
    else:
        record_namespace(entry)


def record_user(entry: Entry) -> None:
    Erasure.objects.create(
        id=entry.id,
        namespace_id=entry.namespace_id,
        user_digest=entry.user_digest,
        requested_by=entry.requested_by,
        erased=entry.erased,
        created_at=entry.at,
    )


def record_namespace(entry: Entry) -> None:
    ErasedNamespace.objects.create(
        id=entry.id, erased_id=entry.namespace_id, deleted=entry.kind == Kind.NAMESPACE, created_at=entry.at
    )
