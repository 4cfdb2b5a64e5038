"""Which namespaces were deleted or emptied: an earlier backup must not bring their rows back."""

from django.db import models
from django.db.models.functions import Now
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from memory_site.core.db.ids import uuid7
from memory_site.core.lists.models import SavedFilter
from sessions_app.models.access import Namespace


class ErasedNamespace(models.Model):
    """A line that outlives its namespace, written in the transaction that deletes or empties it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # No foreign key: the namespace is gone.
    erased_id = models.BigIntegerField(editable=False, help_text="The id of the namespace.")
    deleted = models.BooleanField(help_text="Whether the namespace went too, with its API keys.")
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{'deleted' if self.deleted else 'emptied'} {self.created_at:%Y-%m-%d %H:%M}"


@receiver(pre_delete, sender=Namespace, dispatch_uid="record erased namespace")
def record_deletion(instance: Namespace, **_: object) -> None:
    """Write the line in the transaction of the deletion, whichever code deletes. Saved filters, which have no foreign
    key, go here: they may name users."""
    ErasedNamespace.objects.create(erased_id=instance.pk, deleted=True)
    SavedFilter.objects.of_namespace(instance.pk).delete()
