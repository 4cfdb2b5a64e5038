"""Carries what the database has recorded to the ledger beside the backups, and to the copy at BACKUP_TARGET.

The process that erases may be on a machine without a BACKUP_DIR, so the record in the database comes first; each carry
appends whatever the file lacks, and may run anywhere, at any time and twice.
"""

import logging
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.signals import post_save

from memories.graph.models import Erasure
from memory_site.operations.erasures.ledger import LEDGER_NAME, Ledger, append_missing, read_ledger
from memory_site.operations.erasures.recorded import list_recorded
from memory_site.operations.erasures.replay import replay
from sessions_app.models import ErasedNamespace

log = logging.getLogger(__name__)


def find_ledger() -> Path | None:
    """Return the path of the ledger, None without a BACKUP_DIR."""
    return None if settings.BACKUP_DIR is None else Path(settings.BACKUP_DIR) / LEDGER_NAME


def carry_erasures() -> int:
    """Append to the ledger what it lacks. Return how many entries. Raises OSError.

    Without a folder of backups there is none from which anything could come back; the first backup makes it.
    """
    path = find_ledger()
    return append_missing(path, list_recorded()) if path and path.parent.exists() else 0


def carry_soon(**_: Any) -> None:
    """Carry when the erasure is committed. Where that fails, the task does it within a minute."""
    transaction.on_commit(carry_quietly, robust=True)


def carry_quietly() -> None:
    try:
        carry_erasures()
    except Exception as error:
        log.warning("The erasure is recorded, and not in the ledger yet: %s", error)


def connect_signals() -> None:
    for model in (Erasure, ErasedNamespace):
        post_save.connect(carry_soon, sender=model, dispatch_uid=f"carry {model.__name__}")


def replay_ledger() -> int:
    """Erase again what the ledger knows and the database does not: someone put back an earlier state of it, by a way
    that is not ours. Return how many erasures. Raises LedgerProblem."""
    path = find_ledger()
    ledger = Ledger() if path is None else read_ledger(path)
    return len(replay(ledger.entries.values()))
