"""Backups, as the database knows them. The truth is the folder: a wiped database reads its backups again from there."""

from django.db import models


class BackupState(models.TextChoices):
    RUNNING = "running"
    WRITTEN = "written"
    VERIFIED = "verified"
    BAD = "bad"


class OffsiteState(models.TextChoices):
    NONE = "none"
    COPIED = "copied"
    FAILED = "failed"


class BackupQuerySet(models.QuerySet["Backup"]):
    def verified(self) -> "BackupQuerySet":
        """Keep those that were restored and compared without a difference. No other counts as a backup."""
        return self.filter(state=BackupState.VERIFIED)

    def latest_verified(self) -> "Backup | None":
        """Return the youngest backup that was verified, or None."""
        return self.verified().order_by("-started_at").first()


class Backup(models.Model):
    """One backup. Its manifest beside the file says the same, and wins where the two differ."""

    name = models.CharField(max_length=100, unique=True, help_text="Of its files, without their endings.")
    state = models.CharField(max_length=16, choices=BackupState, default=BackupState.RUNNING)
    process = models.TextField(default="", help_text="What identifies the process that makes it.")
    progress = models.FloatField(default=0, help_text="Of what is being done now, from 0 to 1.")
    message = models.TextField(default="", help_text="What is being done, or why it is bad.")
    started_at = models.DateTimeField()
    written_at = models.DateTimeField(null=True)
    verified_at = models.DateTimeField(null=True, help_text="When the last verification ended well.")
    restore_seconds = models.FloatField(null=True, help_text="What the restore of the last verification took.")
    size_bytes = models.BigIntegerField(null=True)
    pinned = models.BooleanField(default=False, help_text="Kept until it is unpinned, whatever its age.")
    encrypted = models.BooleanField(default=False)
    offsite_state = models.CharField(max_length=16, choices=OffsiteState, default=OffsiteState.NONE)
    offsite_url = models.TextField(default="", help_text="Where its copy is.")
    offsite_error = models.TextField(default="", help_text="Why it could not be copied.")
    manifest = models.JSONField(default=dict, help_text="Counts, hashes and versions; no content.")

    objects = BackupQuerySet.as_manager()

    class Meta:
        ordering = ("-started_at", "-id")

    def __str__(self) -> str:
        return self.name
