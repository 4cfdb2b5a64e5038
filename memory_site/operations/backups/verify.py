"""Verify a backup: read all of it, restore it into a scratch database, compare, search, and throw the database away."""

import logging
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg

from memory_site.core.leases.leases import hold_lease
from memory_site.operations.backups.compare import compare_with_manifest
from memory_site.operations.backups.database import (
    MAX_NAME_BYTES,
    drop_database,
    get_database_name,
    list_databases,
    require_single_server,
)
from memory_site.operations.backups.encryption import find_key
from memory_site.operations.backups.folder import StoredBackup, check_file, read_stored
from memory_site.operations.backups.make import BUSY, LEASE, OnProgress
from memory_site.operations.backups.problems import BackupProblem, DamagedBackup
from memory_site.operations.backups.programs import ProgramFailed
from memory_site.operations.backups.restore import restore_into
from memory_site.operations.backups.rows import RowProgress, store_row
from memory_site.operations.backups.searches import run_sampled_searches
from memory_site.operations.backups.space import require_space_for_database
from memory_site.operations.models import BackupState
from sessions_app.commands import get_first_line

log = logging.getLogger(__name__)
#: Errors of the server that say nothing about the backup.
SERVER_TROUBLE = re.compile(
    r"no space left|disk full|out of memory|out of shared memory|could not (connect|extend|write|resize)|connection to"
    r"|server closed|terminating connection|too many (clients|connections)|permission denied|shutting down|timeout"
    r"|could not open extension|is not available|exit code -\d",  # the last: a signal ended the program
    re.IGNORECASE,
)
#: Shares of the work at which a stage ends: reading the file, restoring, comparing.
READ_SHARE, RESTORED_SHARE, COMPARED_SHARE = 0.05, 0.85, 0.97
MAX_DIFFERENCES = 5


class CannotVerify(BackupProblem):
    """The verification could not be done, which says nothing about the backup."""


def verify_backup(
    stored: StoredBackup,
    *,
    jobs: int | None = None,
    gentle: bool = False,
    on_progress: OnProgress = lambda share, message: None,
) -> StoredBackup:
    """Verify a backup and note the result in manifest and row. Return it: its state is `verified` or `bad`.

    `gentle` leaves more of the machine to others, and takes longer. Raises CannotVerify, or AlreadyRunning.
    """
    require_single_server()
    with hold_lease(LEASE, BUSY):
        drop_scratch_databases()
        # It may have been rotated, changed or pinned since.
        return Verification(read_stored(stored.directory, stored.name), on_progress).run(jobs=jobs, gentle=gentle)


class Verification:
    """One verification, by the holder of the lease."""

    def __init__(self, stored: StoredBackup, on_progress: OnProgress) -> None:
        self.stored, self._on_progress, self._row = stored, on_progress, RowProgress(stored.name)
        self.restore_seconds: float | None = None

    def run(self, *, jobs: int | None, gentle: bool) -> StoredBackup:
        started = time.monotonic()
        message = self.find_fault(jobs=jobs, gentle=gentle)
        note: dict[str, Any] = {"state": BackupState.BAD if message else BackupState.VERIFIED, "message": message}
        note |= {"at": datetime.now(UTC).isoformat(), "seconds": round(time.monotonic() - started, 2)}
        note |= {"restore_seconds": self.restore_seconds and round(self.restore_seconds, 2)}
        # A manifest that is damaged itself stays as it is: the list says so whenever it reads it.
        changed = self.stored if self.stored.problem else self.stored.change(verification=note)
        store_row(changed)
        return changed

    def find_fault(self, *, jobs: int | None, gentle: bool) -> str:
        """Return what is wrong with the backup; empty: nothing is. Raises CannotVerify."""
        if self.stored.is_foreign:
            raise CannotVerify(self.stored.problem)
        try:
            check_file(self.stored, self.follow(0, READ_SHARE, "reading the file"))
            self.check_key()
            require_space_for_database(self.stored.manifest["database"]["bytes"])
            self.restore_and_compare(jobs=jobs, gentle=gentle)
        except DamagedBackup as error:
            return str(error)
        except psycopg.Error as error:
            raise CannotVerify(f"{self.stored.name} could not be verified: {get_first_line(error)}") from None
        except BackupProblem as error:
            if isinstance(error, ProgramFailed) and not SERVER_TROUBLE.search(error.reason):
                return f"{self.stored.path.name} cannot be restored: {error.reason}"
            raise CannotVerify(str(error)) from None
        return ""

    def check_key(self) -> None:
        """Find a missing key before any work."""
        if self.stored.encrypted:
            find_key(self.stored.manifest["encryption"]["key_id"], self.stored.path.name)

    def restore_and_compare(self, *, jobs: int | None, gentle: bool) -> None:
        scratch = name_scratch_database()
        restoring = self.follow(READ_SHARE, RESTORED_SHARE, "restoring")
        try:
            self.restore_seconds = restore_into(scratch, self.stored, jobs=jobs, gentle=gentle, on_share=restoring)
            comparing = self.follow(RESTORED_SHARE, COMPARED_SHARE, "comparing rows")
            wrong = compare_with_manifest(scratch, self.stored.manifest, comparing, parallel=not gentle)
            wrong = wrong or run_sampled_searches(scratch)
        finally:
            drop_database(scratch)
        if wrong:
            raise DamagedBackup(f"{self.stored.path.name} does not restore as it was: {describe(wrong)}")

    def follow(self, first: float, last: float, what: str) -> Callable[[float], None]:
        """Return a function that notes the progress of one stage."""

        def note(share: float) -> None:
            done = first + (last - first) * share
            self._row.note(done, what)
            self._on_progress(done, what)

        return note


def describe(differences: list[str]) -> str:
    more = len(differences) - MAX_DIFFERENCES
    return " ".join([*differences[:MAX_DIFFERENCES], *([f"And {more} more differences."] if more > 0 else [])])


def name_scratch_database() -> str:
    """Return a new name by which a scratch database of this site is known, if it is left over."""
    return get_scratch_prefix() + secrets.token_hex(4)


def get_scratch_prefix() -> str:
    ending = "_scratch_"
    room = MAX_NAME_BYTES - len(ending) - 8
    return get_database_name().encode()[:room].decode(errors="ignore") + ending


def drop_scratch_databases() -> None:
    """Drop what killed verifications left. The lease is held, so none is at work."""
    prefix = get_scratch_prefix()
    for name in list_databases(prefix):
        if re.fullmatch(r"[0-9a-f]{8}", name.removeprefix(prefix)):
            log.warning("Dropping %s, which a killed verification left.", name)
            drop_database(name)
