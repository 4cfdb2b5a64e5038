"""Erases again what the ledger says and the database does not know: it is of a time before these erasures.

An erasure and its record are one transaction. A database without the record has only rows of before the erasure, so
all rows of the user are erased; a database with the record may have rows that were stored later, and is left alone. No
clock is compared.
"""

from collections.abc import Iterable

from django.db import connection, transaction

from memories.users.erasure import (
    NO_STATEMENT_TIMEOUT,
    collect_namespace_rows,
    delete_rows,
    delete_user_rows,
    find_user_ids,
    hash_user_id,
    raw_delete,
)
from memories.users.statistics import compact_totals, refresh_statistics_view
from memory_site.core.db.actor import name_actor, without_history
from memory_site.core.db.retry import retry_on_deadlock
from memory_site.operations.erasures.entries import Entry, Kind
from memory_site.operations.erasures.recorded import list_recorded_ids, record_again
from sessions_app.models import ApiKey, Namespace


def replay(entries: Iterable[Entry]) -> list[Entry]:
    """Erase again, oldest first, what the default database does not know as erased. Return these entries."""
    recorded, digests = list_recorded_ids(), Digests()
    missing = sorted((entry for entry in entries if entry.id not in recorded), key=lambda entry: entry.at)
    for entry in missing:
        erase_again(entry, digests)
    if missing:
        refresh_derived(missing)
    return missing


class Digests(dict[int, dict[bytes, str]]):
    """The users of each namespace by the digests of their ids, read once."""

    def __missing__(self, namespace_id: int) -> dict[bytes, str]:
        self[namespace_id] = found = {hash_user_id(user_id): user_id for user_id in find_user_ids(namespace_id)}
        return found


@retry_on_deadlock
def erase_again(entry: Entry, digests: Digests) -> None:
    """Erase and record in one transaction, so that an interrupted replay goes on where it was."""
    with transaction.atomic(), connection.cursor() as cursor, without_history():
        cursor.execute(NO_STATEMENT_TIMEOUT)
        name_actor()
        if entry.kind == Kind.USER:
            user_id = digests[entry.namespace_id].get(entry.user_digest)
            if user_id is not None:
                delete_user_rows(entry.namespace_id, user_id)
        else:
            erase_namespace(entry)
        record_again(entry)


def erase_namespace(entry: Entry) -> None:
    delete_rows(collect_namespace_rows(entry.namespace_id))
    if entry.kind == Kind.NAMESPACE:
        # Not by `delete`, which would record another deletion.
        raw_delete(ApiKey.objects.filter(namespace=entry.namespace_id))
        raw_delete(Namespace.objects.filter(pk=entry.namespace_id))


def refresh_derived(entries: Iterable[Entry]) -> None:
    """Remove the users from totals and statistics, which are derived from the rows."""
    for namespace_id in {entry.namespace_id for entry in entries}:
        if Namespace.objects.filter(pk=namespace_id).exists():
            compact_totals(namespace_id)
    refresh_statistics_view()
