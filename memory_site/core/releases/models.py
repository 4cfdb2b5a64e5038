"""The release of the database."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class DatabaseRelease(models.Model):
    """The one row that says which release migrated the database, and which one is the oldest that may use it."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    release = models.CharField(max_length=32, help_text="The release that migrated the database last.")
    oldest_release = models.CharField(max_length=32, help_text="The oldest release whose processes may use it.")
    migrated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="database_has_one_release")]

    def __str__(self) -> str:
        return self.release
