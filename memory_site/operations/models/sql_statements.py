"""What was run on the SQL page."""

from django.db import models
from django.db.models.functions import Now

from memory_site.core.db.ids import uuid7


class SqlStatement(models.Model):
    """One statement: who ran it, when, and what came of it. The row is there before the statement runs."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    username = models.CharField(max_length=150)
    statement = models.TextField()
    created_at = models.DateTimeField(db_default=Now())
    rows = models.PositiveIntegerField(null=True, help_text="Rows that were shown; none while it runs or if it failed.")
    is_cut = models.BooleanField(default=False, help_text="Whether there were more rows than were shown.")
    seconds = models.FloatField(null=True)
    error = models.TextField(default="", blank=True)

    class Meta:
        ordering = ("-created_at", "-id")
        verbose_name = "SQL statement"
        permissions = [("run_sql", "Can run read-only SQL")]
        indexes = [models.Index(fields=["-created_at", "-id"], name="sql_statement_newest")]

    def __str__(self) -> str:
        return self.statement if len(self.statement) <= 80 else f"{self.statement[:79]}…"
