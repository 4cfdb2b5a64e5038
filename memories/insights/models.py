"""What was learned and by which projects: Insight, which says more of a memory, and how projects hang together."""

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Length, Now
from django.db.models.lookups import Exact

from memories.models import PRESERVED_TAGS
from memory_site.core.db.ids import uuid7
from sessions_app.models import namespace_key


class InsightCollection(models.TextChoices):
    """How far an insight reaches: the projects it names, or all."""

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


def name_list_field(**options: object) -> ArrayField:
    return ArrayField(models.CharField(max_length=255), default=list, blank=True, **options)


def redacted_names_field() -> models.JSONField:
    """By the true name of a project that looks secret, the name under which insights know it."""
    return models.JSONField(db_default=Value({}, models.JSONField()), editable=False)


class InsightQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int) -> "InsightQuerySet":
        """Those of living memories. Every operation of a caller starts here."""
        return self.filter(Q(memory__expires_at=None) | Q(memory__expires_at__gt=Now()), namespace_id=namespace_id)

    def prunable(self, age: timedelta, quality: float) -> "InsightQuerySet":
        """Older, of less quality, and never used, except those that are marked to stay."""
        old = self.filter(memory__created_at__lt=Now() - age, quality__lt=quality, usage_count=0)
        return old.exclude(Q(memory__tags__overlap=PRESERVED_TAGS) | Q(memory__metadata__contains={"important": True}))


class Insight(models.Model):
    """What a memory of the type `insight` says besides its text, its confidence and its age."""

    # PostgreSQL follows the references (0002_foreign_keys): with its memory an insight goes, its origins it outlives.
    memory = models.OneToOneField(
        "memories.Memory", models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="insight"
    )
    namespace = namespace_key()
    collection = models.CharField(max_length=16, choices=InsightCollection, default=InsightCollection.PROJECT)
    insight_type = models.CharField(max_length=16, choices=InsightType, default=InsightType.GENERAL)
    topics = name_list_field()
    projects = name_list_field()
    quality = models.FloatField()
    usage_count = models.PositiveIntegerField(db_default=0, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    source_memory = models.ForeignKey(
        "memories.Memory", models.DO_NOTHING, null=True, db_constraint=False, related_name="insights"
    )
    conversation = models.ForeignKey(
        "sessions_app.Conversation", models.DO_NOTHING, null=True, db_constraint=False, related_name="insights"
    )
    # SHA-256 of its text without regard to case, space and punctuation: the same insight is kept once.
    digest = models.BinaryField(editable=False)
    # Of its MinHash signature, by which texts that are nearly the same are found.
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
        ]

    def __str__(self) -> str:
        return f"{self.insight_type} {self.memory_id}"


class ProjectQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int) -> "ProjectQuerySet":
        """What one namespace says of its projects. Every operation of a caller starts here."""
        return self.filter(namespace_id=namespace_id)


class ProjectGroup(models.Model):
    """Projects that belong together, by name; what one learned is near to the others."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    namespace = namespace_key()
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


class ProjectDependency(models.Model):
    """One project leans on another in one way."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    namespace = namespace_key()
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
