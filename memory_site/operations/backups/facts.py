"""What health and metrics need to know of backups, from the database alone: they are asked every few seconds."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from memory_site.core.db.cluster import is_citus
from memory_site.core.leases.models import Lease
from memory_site.core.leases.process import has_ended
from memory_site.operations.backups.make import LEASE
from memory_site.operations.models import Backup, BackupState


@dataclass(frozen=True)
class BackupFacts:
    """The state of the backups. Times are of the snapshots: what was stored later is in none of them."""

    is_configured: bool
    is_supported: bool  # False on Citus, where other tools make them
    latest_started_at: datetime | None  # of the youngest backup that is written, verified or not
    latest_verified_started_at: datetime | None  # how old the data of a restore would be
    last_verification_at: datetime | None  # when a verification ended well
    restore_seconds: float | None  # of that one
    bad: list[str]  # sentences about bad backups that are younger than the latest verified one, youngest first
    is_working: bool  # a process makes, verifies or rotates backups now


def read_backup_facts() -> BackupFacts:
    """Read the facts, in four short statements."""
    verified = Backup.objects.latest_verified()
    proven = Backup.objects.verified().order_by("-verified_at").first()
    written = Backup.objects.filter(state__in=(BackupState.WRITTEN, BackupState.VERIFIED)).first()
    return BackupFacts(
        is_configured=settings.BACKUP_DIR is not None,
        is_supported=not is_citus(),
        latest_started_at=written.started_at if written else None,
        latest_verified_started_at=verified.started_at if verified else None,
        last_verification_at=proven.verified_at if proven else None,
        restore_seconds=proven.restore_seconds if proven else None,
        bad=list_bad(verified),
        is_working=is_working(),
    )


def list_bad(verified: Backup | None) -> list[str]:
    rows = Backup.objects.filter(Q(state=BackupState.BAD) | Q(state=BackupState.RUNNING))
    if verified is not None:
        rows = rows.filter(started_at__gt=verified.started_at)
    return [
        f"{row.name}: {row.message or 'It was interrupted.'}"
        for row in rows[:10]
        if row.state == BackupState.BAD or has_ended(row.process)
    ]


def is_working() -> bool:
    """Return whether a live process holds the lease of all work with backups."""
    lease = Lease.objects.filter(name=LEASE, expires_at__gt=timezone.now()).first()
    return lease is not None and not has_ended(lease.process)
