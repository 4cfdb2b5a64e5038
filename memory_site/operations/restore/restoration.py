"""Restores a backup: into a draft, compared, brought to this release, erased again, and then in the site's place.

Until the last step the site's database is not touched. A restore that is killed leaves a draft, which the next one or
the next rotation drops.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from django.db import connections

from memory_site.operations.backups.compare import compare_with_manifest
from memory_site.operations.backups.database import comment_on, connect_to_server, drop_database, get_other_owner
from memory_site.operations.backups.folder import StoredBackup, check_file
from memory_site.operations.backups.make import OnProgress
from memory_site.operations.backups.problems import DamagedBackup
from memory_site.operations.backups.restore import restore_into
from memory_site.operations.backups.rows import sync_rows
from memory_site.operations.backups.verify import describe
from memory_site.operations.erasures.entries import Entry
from memory_site.operations.erasures.recorded import list_recorded
from memory_site.operations.erasures.replay import replay
from memory_site.operations.restore.databases import (
    DRAFT_COMMENT,
    KEPT_COMMENT,
    drop_draft,
    exists,
    hold_draft,
    is_blank,
    name_draft,
    name_kept,
    use_database,
)
from memory_site.operations.restore.settle import (
    copy_database_settings,
    forget_processes,
    list_revoked,
    migrate_forward,
    revoke_again,
    vacuum,
)
from memory_site.operations.restore.swap import Swap, give_name

#: Shares of the work at which a stage ends.
READ_SHARE, RESTORED_SHARE, COMPARED_SHARE, SETTLED_SHARE = 0.05, 0.8, 0.92, 0.99


@dataclass
class Restored:
    """What a restore did. `kept` is the earlier database's name now, None if there was none."""

    database: str
    kept: str | None = None
    erased_again: int = 0
    migrations: int = 0
    seconds: float = 0
    swap_seconds: float = 0


@dataclass
class Restoration:
    """One restore of a checked backup. `into` is a new database; None: the site's, whose name is `live`.

    `load_erasures` returns the entries of the ledger, and `note_erasures` appends to it.
    """

    stored: StoredBackup
    live: str
    into: str | None
    load_erasures: Callable[[], list[Entry]]
    note_erasures: Callable[[list[Entry]], object]
    on_progress: OnProgress = lambda share, what: None
    known: dict[UUID, Entry] = field(default_factory=dict)

    @property
    def draft(self) -> str:
        return name_draft(self.live)

    def run(self) -> Restored:
        """Restore. Raises BackupProblem, AlreadyRunning; the site's database is as it was then."""
        started = time.monotonic()
        with hold_draft(self.live):
            drop_draft(self.live)
            result = Restored(self.into or self.live)
            try:
                self.fill()
                self.settle(result)
                self.publish(result)
            except BaseException:
                drop_draft(self.live)
                raise
        result.seconds = time.monotonic() - started
        return result

    def fill(self) -> None:
        """Restore into the draft, and compare all of it with the manifest."""
        check_file(self.stored, self.follow(0, READ_SHARE, "reading the file"))
        restoring = self.follow(READ_SHARE, RESTORED_SHARE, "restoring")
        restore_into(self.draft, self.stored, owner=get_other_owner(), comment=DRAFT_COMMENT, on_share=restoring)
        comparing = self.follow(RESTORED_SHARE, COMPARED_SHARE, "comparing rows")
        if wrong := compare_with_manifest(self.draft, self.stored.manifest, comparing):
            raise DamagedBackup(f"{self.stored.path.name} does not restore as it was: {describe(wrong)}")

    def settle(self, result: Restored) -> None:
        """Bring the draft to this release, and repeat the erasures in it."""
        self.on_progress(COMPARED_SHARE, "migrating and erasing again")
        self.known = {entry.id: entry for entry in self.load_erasures()}
        revoked = self.read_revoked()
        with use_database(self.draft):
            result.migrations = migrate_forward() - len(self.stored.manifest["migrations"])
            forget_processes()
            revoke_again(revoked)
            result.erased_again = len(replay(self.known.values()))
            sync_rows(self.stored.directory)
            vacuum()
        self.on_progress(SETTLED_SHARE, "taking its place")

    def read_revoked(self) -> dict[str, datetime]:
        if not exists(self.live):
            return {}
        with use_database(self.live):
            return list_revoked()

    def publish(self, result: Restored) -> None:
        if self.into is None and exists(self.live):
            copy_database_settings(self.live, self.draft)
            self.take_place(result)
        else:
            with connect_to_server() as opened, opened.transaction():
                give_name(opened, self.draft, result.database)
                comment_on(opened, result.database, None)

    def take_place(self, result: Restored) -> None:
        kept = name_kept(self.live, datetime.now(UTC))
        swap = Swap(self.draft, self.live, kept, KEPT_COMMENT.format(self.stored.name))
        was_blank = is_blank(self.live)
        with use_database(self.live):
            started = time.monotonic()
            swap.run(connections["default"], self.catch_up, lambda: self.complete(result))
            result.swap_seconds = time.monotonic() - started
        connections["default"].close()  # it was in the database that has another name now
        if was_blank:
            drop_database(kept)
        else:
            result.kept = kept

    def catch_up(self) -> bool:
        """Look for erasures in the old database that came in since. Return whether there are none."""
        missing = [entry for entry in list_recorded() if entry.id not in self.known]
        self.known |= {entry.id: entry for entry in missing}
        return not missing

    def complete(self, result: Restored) -> None:
        """Repeat in the draft what came in since, and add it to the ledger."""
        self.note_erasures(list(self.known.values()))
        with use_database(self.draft):
            result.erased_again += len(replay(self.known.values()))

    def follow(self, first: float, last: float, what: str) -> Callable[[float], None]:
        return lambda share: self.on_progress(first + (last - first) * share, what)
