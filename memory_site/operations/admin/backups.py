"""The console's pages of backups: their state, age and progress, with actions that verify and pin."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from kombu.exceptions import OperationalError
from unfold.decorators import display

from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import (
    format_datetime,
    format_duration,
    format_number,
    format_size,
    render_json,
    render_progress_bar,
)
from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.backups.facts import is_working
from memory_site.operations.backups.pins import set_pinned
from memory_site.operations.backups.problems import BackupProblem
from memory_site.operations.backups.tasks import verify_chosen_backup
from memory_site.operations.models import Backup, BackupState, OffsiteState

STATE_COLOURS = {
    "verified": "success",
    "written": "warning",
    "running": "info",
    "bad": "danger",
    "interrupted": "danger",
}
OFFSITE_COLOURS = {"copied": "success", "failed": "danger"}


@admin.register(Backup)
class BackupAdmin(ReadOnlyAdmin):
    """Only what was verified counts as a backup; the page shows the manifest of each."""

    empty_text = "A backup is made every night, and by manage.py backup."
    list_display = ("name", "state_shown", "age", "size", "verified", "restore", "pin_shown", "offsite", "note")
    list_display_links = ("name",)
    list_filter = ("state", "pinned")
    actions = ("verify", "pin", "unpin")
    fields = (
        ("name", "state_shown", "note"),
        ("started", "verified", "restore"),
        ("size", "rows", "encrypted_with"),
        ("pin_shown", "offsite", "copy"),
        "restore_command",
        "manifest_shown",
    )
    readonly_fields = (
        *("state_shown", "note", "started", "verified", "restore"),
        *("size", "rows", "encrypted_with", "pin_shown", "offsite", "copy"),
        *("restore_command", "manifest_shown"),
    )
    compressed_fields = False

    def has_manage_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("operations.change_backup")

    @admin.action(description="Verify by a restore", permissions=("manage",))
    def verify(self, request: HttpRequest, queryset: QuerySet[Backup]) -> None:
        try:
            for backup in queryset.exclude(state=BackupState.RUNNING):
                verify_chosen_backup.apply_async((backup.name,), retry=False)
        except OperationalError as error:
            messages.error(request, f"Nothing was sent: the broker does not answer ({error}).")
        else:
            messages.success(request, "A worker verifies them one after the other; this page shows the progress.")

    @admin.action(description="Pin: never delete", permissions=("manage",))
    def pin(self, request: HttpRequest, queryset: QuerySet[Backup]) -> None:
        self.set_pinned(request, queryset, True)

    @admin.action(description="Unpin", permissions=("manage",))
    def unpin(self, request: HttpRequest, queryset: QuerySet[Backup]) -> None:
        self.set_pinned(request, queryset, False)

    def set_pinned(self, request: HttpRequest, queryset: QuerySet[Backup], pinned: bool) -> None:
        for backup in queryset:
            try:
                set_pinned(backup.name, pinned)
            except (BackupProblem, AlreadyRunning) as error:
                messages.error(request, f"{backup.name}: {error}")
            else:
                messages.success(request, f"{backup.name} is {'pinned' if pinned else 'no longer pinned'}.")

    @display(description="state", label=STATE_COLOURS)
    def state_shown(self, backup: Backup) -> str:
        return "interrupted" if backup.state == BackupState.RUNNING and not is_working() else backup.state

    @display(description="age")
    def age(self, backup: Backup) -> str:
        """Show the largest unit alone: "3 d"."""
        return " ".join(format_duration((timezone.now() - backup.started_at).total_seconds()).split()[:2])

    @display(description="pinned", label={"pinned": "info"})
    def pin_shown(self, backup: Backup) -> str | None:
        return "pinned" if backup.pinned else None

    @display(description="snapshot of")
    def started(self, backup: Backup) -> SafeString | None:
        return format_datetime(backup.started_at)

    @display(description="size", empty_value="")
    def size(self, backup: Backup) -> str | None:
        return None if backup.size_bytes is None else format_size(backup.size_bytes)

    @display(description="verified", empty_value="not yet")
    def verified(self, backup: Backup) -> SafeString | None:
        return format_datetime(backup.verified_at)

    @display(description="restore took", empty_value="")
    def restore(self, backup: Backup) -> str | None:
        return None if backup.restore_seconds is None else format_duration(backup.restore_seconds)

    @display(description="rows", empty_value="")
    def rows(self, backup: Backup) -> str | None:
        tables = backup.manifest.get("tables")
        return tables and f"{format_number(sum(each['rows'] for each in tables.values()))} of {len(tables)} tables"

    @display(description="copy", empty_value="")
    def copy(self, backup: Backup) -> str | None:
        return backup.offsite_error if backup.offsite_state == OffsiteState.FAILED else backup.offsite_url or None

    @display(description="to restore it")
    def restore_command(self, backup: Backup) -> str:
        return f"python manage.py restore {backup.name} --replace {settings.DATABASES['default']['NAME']}"

    @display(description="off-site", label=OFFSITE_COLOURS)
    def offsite(self, backup: Backup) -> str | None:
        return None if backup.offsite_state == "none" else backup.offsite_state

    @display(description="encrypted", empty_value="no")
    def encrypted_with(self, backup: Backup) -> str | None:
        return f"with the key {backup.manifest['encryption']['key_id']}" if backup.encrypted else None

    @display(description="progress or reason")
    def note(self, backup: Backup) -> SafeString | str:
        if backup.progress < 1 and backup.message and is_working():
            return render_progress_bar(backup.message, "in_progress", round(100 * backup.progress))
        return backup.message if backup.state == BackupState.BAD else ""

    @display(description="manifest")
    def manifest_shown(self, backup: Backup) -> Any:
        return render_json(backup.manifest)
