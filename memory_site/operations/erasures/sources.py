"""All places that know of erasures, together: the ledger beside the backups, and the site's database if it is there."""

from collections.abc import Iterable
from pathlib import Path

from django.db import DatabaseError

from memory_site.operations.erasures.carry import find_ledger
from memory_site.operations.erasures.entries import Entry
from memory_site.operations.erasures.ledger import append_missing, read_ledger
from memory_site.operations.erasures.recorded import list_recorded
from memory_site.operations.restore.databases import exists, site_database


def load_all_erasures(live: str) -> list[Entry]:
    """Return every erasure that is known, after the ledger has got those of the database. Raises LedgerProblem."""
    path = find_ledger() or Path()
    if recorded := list_of_database(live):
        append_missing(path, recorded)
    ledger = read_ledger(path)
    ledger.require_whole()
    return list(ledger.entries.values())


def list_of_database(name: str) -> list[Entry]:
    """Return what a database has recorded; nothing if it is missing, or has no such tables yet."""
    if not exists(name):
        return []
    with site_database(name):
        try:
            return list_recorded()
        except DatabaseError:
            return []


def note_erasures(entries: Iterable[Entry]) -> None:
    if path := find_ledger():
        append_missing(path, entries)
