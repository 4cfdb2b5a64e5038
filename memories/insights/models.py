"""Insights, and the groups and dependencies of projects that make insights visible to more projects."""

import textwrap
from collections.abc import Collection
from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Length, Now
from django.db.models.lookups import Exact

from memories.models import PRESERVED_TAGS
from memories.states import is_alive
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedForeignKey, NamespacedModel, NamespacedOneToOneField
from sessions_app.models import namespace_key

MAX_TITLE_LENGTH = 80


class InsightCollection(models.TextChoices):
    """Which projects see an insight: those it names, or all."""

    PROJECT = "project"
    GLOBAL = "global"


class InsightType(models.TextChoices):
    PATTERN = "pattern"
    ARCHITECTURE = "architecture"
    BEST_PRACTICE = "best_practice"
    GOTCHA = "gotcha"
    GENERAL = "general"


class DependencyType(models.TextChoices):
    USES = "uses"
    EXTENDS = "extends"
    REFERENCES = "references"
    SHARES_CODE = "shares_code"


def name_list_field() -> ArrayField:
    return ArrayField(models.CharField(max_length=255), default=list, blank=True)


def redacted_names_field() -> models.JSONField:
    """Return a field for {true name: redacted name} of the projects whose names look secret."""
    return models.JSONField(db_default=Value({}, models.JSONField()), editable=False)


class InsightQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int, states: Collection[str] | None = None) -> "InsightQuerySet":
        """Return the insights whose memories live, in one of `states`. Every API operation starts here."""
        return self.filter(is_alive("memory__", states), namespace_id=namespace_id)

    def prunable(self, age: timedelta, quality: float) -> "InsightQuerySet":
        """Return insights that are older, of lower quality and never used, except those marked as important."""
        old = self.filter(memory__created_at__lt=Now() - age, quality__lt=quality, usage_count=0)
        return old.exclude(Q(memory__tags__overlap=PRESERVED_TAGS) | Q(memory__metadata__contains={"important": True}))


class Insight(NamespacedModel):
    """The columns that a memory of type `insight` has besides those of Memory."""

    namespace = namespace_key()
    # Foreign keys of the database (migration 0002_foreign_keys): deleting the memory deletes its insight, and sets
    # source_memory and conversation of others to NULL.
    memory = NamespacedOneToOneField(
        "memories.Memory", models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="insight"
    )
    collection = models.CharField(max_length=16, choices=InsightCollection, default=InsightCollection.PROJECT)
    insight_type = models.CharField(max_length=16, choices=InsightType, default=InsightType.GENERAL)
    topics = name_list_field()
    projects = name_list_field()
    quality = models.FloatField()
    usage_count = models.PositiveIntegerField(db_default=0, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    source_memory = NamespacedForeignKey(
        "memories.Memory", models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="insights"
    )
    conversation = NamespacedForeignKey(
        "sessions_app.Conversation",
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="insights",
    )
    # SHA-256 of the normalised text (minhash.py), unique in a namespace.
    digest = models.BinaryField(editable=False)
    # MinHash bands, by which texts that are nearly the same are found (minhash.py).
    bands = ArrayField(models.BigIntegerField(), editable=False)

    objects = InsightQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["namespace", "digest"], name="insight_is_kept_once"),
            models.CheckConstraint(
                condition=Q(collection__in=InsightCollection.values), name="insight_collection_is_known"
            ),
            models.CheckConstraint(condition=Q(insight_type__in=InsightType.values), name="insight_type_is_known"),
            models.CheckConstraint(condition=Q(quality__range=(0, 1)), name="insight_quality_is_0_to_1"),
            models.CheckConstraint(condition=Exact(Length("digest"), 32), name="insight_digest_is_a_sha256"),
        ]
        indexes = [
            GinIndex(F("bands"), name="insight_bands", fastupdate=False),
            GinIndex(F("projects"), name="insight_projects", fastupdate=False),
            # For the foreign keys' ON DELETE SET NULL.
            *[
                models.Index(
                    F("namespace"), F(field), name=f"insight_{field}", condition=Q((f"{field}__isnull", False))
                )
                for field in ("source_memory", "conversation")
            ],
        ]

    def __str__(self) -> str:
        """Return the beginning of the text, where the query has read it, or else type and id."""
        memory = self._state.fields_cache.get("memory")
        text = getattr(self, "preview", None) or (memory.__dict__.get("content") if memory else None)
        if not text:
            return f"{self.insight_type} {self.memory_id}"
        return textwrap.shorten(text, MAX_TITLE_LENGTH, placeholder="…")


class ProjectQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int) -> "ProjectQuerySet":
        """Return the rows of one namespace. Every API operation starts here."""
        return self.filter(namespace_id=namespace_id)


class ProjectGroup(NamespacedModel):
    """A named set of projects; each member sees the memories and insights of the others."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    projects = name_list_field()
    redacted_names = redacted_names_field()
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["namespace", "name"], name="project_group_is_kept_once"),
            models.CheckConstraint(condition=~Q(name=""), name="project_group_is_named"),
            models.CheckConstraint(condition=Q(projects__len__gte=1), name="project_group_is_not_empty"),
        ]
        indexes = [GinIndex(F("projects"), name="project_group_projects", fastupdate=False)]

    def __str__(self) -> str:
        return self.name


class ProjectDependency(NamespacedModel):
    """One project depends on another in one way; each sees the memories and insights of the other."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    source_project = models.CharField(max_length=255)
    target_project = models.CharField(max_length=255)
    type = models.CharField(max_length=16, choices=DependencyType)
    redacted_names = redacted_names_field()
    description = models.TextField(blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "project dependencies"
        constraints = [
            models.UniqueConstraint(
                fields=["namespace", "source_project", "target_project", "type"], name="dependency_is_kept_once"
            ),
            models.CheckConstraint(
                condition=~Q(source_project=F("target_project")), name="dependency_is_on_another_project"
            ),
            models.CheckConstraint(condition=Q(type__in=DependencyType.values), name="dependency_type_is_known"),
        ]
        indexes = [models.Index(F("namespace"), F("target_project"), name="dependency_inbound")]

    def __str__(self) -> str:
        return f"{self.source_project} {self.type} {self.target_project}"
