"""Filters that people of the console save by name, and the columns that they choose."""

import re
from urllib.parse import quote_plus

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

MAX_NAME_LENGTH, MAX_QUERY_LENGTH, MAX_COLUMNS = 80, 8_000, 64


class SavedFilterQuerySet(models.QuerySet["SavedFilter"]):
    def of_namespace(self, namespace_id: int) -> "SavedFilterQuerySet":
        """Select those that are about one namespace."""
        return self.filter(query__regex=rf"(^|&)namespace={namespace_id}(&|$)")

    def naming_user(self, namespace_id: int, user_id: str) -> "SavedFilterQuerySet":
        """Select those of the namespace, or of no certain one, in which the user id is a value."""
        elsewhere = Q(query__regex=r"(^|&)namespace=") & ~Q(pk__in=self.of_namespace(namespace_id).values("pk"))
        return self.filter(query__regex=rf"={re.escape(quote_plus(user_id))}(&|$)").exclude(elsewhere)


class SavedFilter(models.Model):
    """The query string of a list under a name. The row without a name holds its owner's columns of the list."""

    list_name = models.CharField(max_length=200, help_text="App and model of the list.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    name = models.CharField(max_length=MAX_NAME_LENGTH, blank=True)
    query = models.TextField(blank=True)
    columns = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects = SavedFilterQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["list_name", "owner", "name"], name="filter_has_one_name")]

    def __str__(self) -> str:
        return self.name or "columns"
