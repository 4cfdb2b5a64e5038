"""What is known of each memory's text, and which memories say the same as another one."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from memories.models import Memory
from memory_site.core.db.namespaced import NamespacedModel, NamespacedOneToOneField
from sessions_app.models import namespace_key


class Inspection(NamespacedModel):
    """What the last look at a memory found. It is outdated if the memory has changed since."""

    namespace = namespace_key()
    memory = NamespacedOneToOneField(
        Memory, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="inspection"
    )
    memory_updated_at = models.DateTimeField(help_text="The memory's time of change when it was looked at.")
    characters = models.IntegerField()
    # Kinds of memories.cleanup.secret_patterns.
    secrets = ArrayField(models.CharField(max_length=32), default=list)
    # MinHash bands and a digest of the text without case and punctuation; null if it is no candidate for a duplicate.
    bands = models.BinaryField(null=True)

    class Meta:
        indexes = [
            models.Index(F("namespace"), F("characters"), name="inspection_length"),
            models.Index(F("namespace"), name="inspection_with_secrets", condition=~Q(secrets=[])),
        ]

    def __str__(self) -> str:
        return f"inspection of {self.memory_id}"


class Duplicate(NamespacedModel):
    """A memory that says nothing that its winner does not say as well. Looking again replaces the rows, except those
    that a person has dismissed."""

    namespace = namespace_key()
    memory = NamespacedOneToOneField(
        Memory, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="duplicate"
    )
    # No foreign key: a winner that is deleted just makes the row void.
    winner_id = models.UUIDField()
    similarity = models.FloatField()
    dismissed = models.BooleanField(db_default=False)
    found_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "near duplicate"
        indexes = [models.Index(F("namespace"), F("winner_id"), name="duplicate_of_winner")]

    def __str__(self) -> str:
        return f"{self.memory_id} says the same as {self.winner_id}"
