"""All places that know of erasures, together: the ledger beside the backups, its copy at BACKUP_TARGET, and the site's
database, if they are there."""

import logging
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings

from memory_site.operations.backups.folder import get_directory
from memory_site.operations.erasures.carry import find_ledger
from memory_site.operations.erasures.entries import Entry
from memory_site.operations.erasures.ledger import LEDGER_NAME, Ledger, LedgerProblem, append_missing, read_ledger
from memory_site.operations.erasures.recorded import list_recorded
from memory_site.operations.offsite.copies import open_target
from memory_site.operations.offsite.ledger import exchange_ledger
from memory_site.operations.offsite.target import OffsiteProblem
from memory_site.operations.restore.databases import exists, is_blank, use_database

log = logging.getLogger(__name__)


def load_all_erasures(live: str) -> list[Entry]:
    """Return every erasure that is known, after the ledger has got those of the database. Raises LedgerProblem."""
    path = get_directory() / LEDGER_NAME
    if recorded := list_of_database(live):
        append_missing(path, recorded)
    ledger = read_with_copy(path, is_known_here=path.exists() or (exists(live) and not is_blank(live)))
    ledger.require_whole()
    return list(ledger.entries.values())


def read_with_copy(path: Path, *, is_known_here: bool) -> Ledger:
    """Return the ledger, completed by its copy. Where that is away the file here is enough, if what was erased is known
    here: a database has in its tables whatever was in the ledger when the site started."""
    if settings.BACKUP_TARGET is None:
        return read_ledger(path)
    try:
        return exchange_ledger(path, open_target())
    except OffsiteProblem as error:
        if not is_known_here:
            raise LedgerProblem(f"What was erased is not known here, and {error}") from None
        log.warning("The ledger of erasures here is used alone: %s", error)
        return read_ledger(path)


def list_of_database(name: str) -> list[Entry]:
    """Return what a database has recorded; nothing if it is missing."""
    if not exists(name):
        return []
    with use_database(name):
        return list_recorded()


def note_erasures(entries: Iterable[Entry]) -> None:
    if path := find_ledger():
        append_missing(path, entries)
