"""Test searches: what a query must find, and what it found last."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from memories.bench.setting import Setting
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedModel
from sessions_app.models import namespace_key

MAX_NAME_LENGTH, MAX_EXPECTED = 120, 20
#: Of one namespace.
MAX_TEST_SEARCHES = 200


class TestSearch(NamespacedModel):
    """A search of one namespace whose hits must include the expected memories.

    `user_id` is the user whose memories it is about, if it is one: it is erased with the user. Expected memories that
    were deleted stay listed: a run reports them.
    """

    __test__ = False  # no test of pytest

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=MAX_NAME_LENGTH)
    user_id = models.CharField("user", max_length=255, null=True, editable=False)
    setting = models.JSONField()
    expected = ArrayField(models.UUIDField(), default=list)
    # The hits of the last run, best first.
    found = ArrayField(models.UUIDField(), default=list, editable=False)
    last_run_at = models.DateTimeField(null=True, editable=False)
    created_by = models.CharField(max_length=255, default="", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "test searches"
        constraints = [
            models.UniqueConstraint(fields=["namespace", "name"], name="test_search_has_one_name"),
            models.CheckConstraint(condition=Q(expected__len__lte=MAX_EXPECTED), name="test_search_is_bounded"),
        ]
        indexes = [
            models.Index(F("namespace"), F("user_id"), name="test_search_of_user", condition=Q(user_id__isnull=False)),
        ]
        permissions = [("view_plan", "Can see the statement and the plan of a search")]

    def __str__(self) -> str:
        return self.name

    def read_setting(self) -> Setting:
        """Return the setting. Raises ValidationError for one of another release that this one does not know."""
        return Setting.model_validate(self.setting)
