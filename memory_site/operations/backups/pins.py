"""Pin a backup, so that rotation keeps it whatever its age."""

from memory_site.core.leases.leases import hold_lease
from memory_site.operations.backups.folder import find_stored
from memory_site.operations.backups.make import BUSY, LEASE
from memory_site.operations.backups.problems import DamagedBackup
from memory_site.operations.backups.rows import store_row
from memory_site.operations.models import Backup


def set_pinned(name: str, pinned: bool) -> Backup:
    """Pin or unpin a backup, in its manifest and its row. Raises BackupProblem, AlreadyRunning."""
    with hold_lease(LEASE, BUSY):
        stored = find_stored(name)
        if not stored.manifest or stored.is_foreign:
            raise DamagedBackup(stored.problem)
        return store_row(stored.change(pinned=pinned))
