"""What grows out of memories: Clusters of those with the same tags, Patterns that were noticed, users' Preferences."""

from datetime import timedelta
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Case, Count, F, Func, OuterRef, Q, Subquery, TextField, Value, When
from django.db.models.functions import Cast, Coalesce, Least, Length, Now
from django.db.models.lookups import GreaterThan, LessThanOrEqual

from memories.models import NEWEST_FIRST, Memory, MemoryQuerySet
from memories.types import MemoryType
from memory_site.core.db.ids import uuid7
from sessions_app.models import namespace_key

#: A cluster weighs a tenth for each member, and this much when it changed lately or when it did not; five at most.
MEMBER_WEIGHT, CHANGED_CLUSTER_WEIGHT, UNCHANGED_CLUSTER_WEIGHT, MAX_CLUSTER_IMPORTANCE = 0.1, 1.0, 0.5, 5.0
RECENT_CHANGE_PERIOD = timedelta(days=7)
#: More members than these weigh nothing.
MAX_WEIGHED_MEMBERS = round(MAX_CLUSTER_IMPORTANCE / MEMBER_WEIGHT)
MAX_LISTED_MEMBERS = 20
MAX_PATTERN_EXAMPLES = 10


class HasTags(Func):
    """As the index memory_by_tags has it (0003_foreign_keys)."""

    template = "cardinality(%(expressions)s) > 0"
    output_field = models.BooleanField()


class TagsKey(Func):
    function = "knowledge_tags_key"
    output_field = models.BinaryField()


def get_members_queryset(namespace: Any, memory_type: Any, key: Any) -> MemoryQuerySet:
    """The living memories of a type whose tags are those of the key, in whatever order."""
    rows = Memory.objects.alive().alias(tags_key=TagsKey("tags")).filter(HasTags("tags"))
    return rows.filter(namespace_id=namespace, memory_type=memory_type, tags_key=key)


def count_up_to(memories: MemoryQuerySet, most: int) -> Func:
    """How many there are, counted to `most`. Asked row by row: EXISTS may be answered by reading all memories first."""
    ids = ArraySubquery(memories.values("pk")[:most])
    return Func(ids, function="cardinality", output_field=models.IntegerField())


class ClusterQuerySet(models.QuerySet):
    #: Which memories count as members: all there are, or those `of_members` was told.
    member_condition = Q()

    def _clone(self) -> "ClusterQuerySet":
        clone = super()._clone()
        clone.member_condition = self.member_condition
        return clone

    @property
    def members(self) -> MemoryQuerySet:
        members = get_members_queryset(OuterRef("namespace_id"), OuterRef("memory_type"), OuterRef("key"))
        return members.filter(self.member_condition)

    def with_member_matching(self, counting: Q) -> "ClusterQuerySet":
        """Those with a member that counts; what is told of them from here on is of such members alone."""
        rows = self._clone()
        rows.member_condition = counting
        return rows.filter(GreaterThan(count_up_to(rows.members, 1), 0))

    def in_namespace(self, namespace_id: int) -> "ClusterQuerySet":
        """Every operation of a caller starts here. Of what has expired nothing is told."""
        return self.filter(
            Q(is_explicit=True) | Q(GreaterThan(count_up_to(self.members, 1), 0)), namespace_id=namespace_id
        )

    def with_importance(self) -> "ClusterQuerySet":
        """With `importance_score`, 0.5 to 5. A memory that came changed the cluster."""
        since = Now() - RECENT_CHANGE_PERIOD
        came = GreaterThan(count_up_to(self.members.filter(created_at__gte=since), 1), 0)
        changed = Case(
            When(Q(updated_at__gte=since) | Q(came), then=CHANGED_CLUSTER_WEIGHT), default=UNCHANGED_CLUSTER_WEIGHT
        )
        weight = Cast(count_up_to(self.members, MAX_WEIGHED_MEMBERS), models.FloatField()) * MEMBER_WEIGHT + changed
        return self.annotate(importance_score=Least(weight, MAX_CLUSTER_IMPORTANCE, output_field=models.FloatField()))

    def with_members(self) -> "ClusterQuerySet":
        """With `member_count` and `members`, the ids of the newest."""
        count = self.members.order_by().values(all=Value(1)).annotate(count=Count("*")).values("count")
        newest = self.members.newest_first().values("pk")[:MAX_LISTED_MEMBERS]
        return self.annotate(member_count=Coalesce(Subquery(count), 0), members=ArraySubquery(newest))

    def matching_words(self, query: str) -> "ClusterQuerySet":
        """Those whose name, description, tags or topics share a word with the query."""
        return self.filter(words__overlap=Func(Value(query), function="knowledge_lexemes"))


class Cluster(models.Model):
    """Memories of one type that have the same tags. Which they are is never stored.

    Triggers insert the row with the first such memory, and delete it with the last one unless a caller described the
    cluster (memories/triggers.py).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    namespace = namespace_key()
    memory_type = models.CharField(max_length=32, choices=[(kind.value, kind.value) for kind in MemoryType])
    # Each once, in the order of their bytes; PostgreSQL sees to it.
    tags = ArrayField(models.CharField(max_length=128))
    # SHA-256: 256 tags of 128 characters are too much for an index.
    key = models.GeneratedField(
        expression=Func("tags", function="knowledge_tags_key"), output_field=models.BinaryField(), db_persist=True
    )
    name = models.CharField(max_length=255, blank=True, help_text="Its type and tags, when there is none.")
    description = models.TextField(null=True, blank=True)
    topics = ArrayField(models.CharField(max_length=255), default=list, blank=True)
    confidence = models.FloatField(db_default=1)
    # Whether a caller described it; then it stays without members.
    is_explicit = models.BooleanField(db_default=False, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)
    words = models.GeneratedField(
        expression=Func("name", "description", "tags", "topics", function="knowledge_cluster_lexemes"),
        output_field=ArrayField(TextField()),
        db_persist=True,
    )

    objects = ClusterQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key", "namespace", "memory_type"], name="cluster_is_kept_once"),
            models.CheckConstraint(condition=Q(memory_type__in=list(MemoryType)), name="cluster_type_is_known"),
            models.CheckConstraint(condition=Q(tags__len__range=(1, 256)), name="cluster_has_tags"),
            models.CheckConstraint(condition=Q(confidence__range=(0, 1)), name="cluster_confidence_is_0_to_1"),
        ]
        indexes = [
            models.Index(F("namespace"), *NEWEST_FIRST, name="cluster_newest"),
            models.Index(*NEWEST_FIRST, name="cluster_newest_of_all"),
            GinIndex(F("tags"), name="cluster_tags", fastupdate=False),
            GinIndex(F("words"), name="cluster_words", fastupdate=False),
        ]

    def __str__(self) -> str:
        return self.name or build_cluster_name(self.memory_type, self.tags)


def build_cluster_name(memory_type: str, tags: list[str]) -> str:
    """What a cluster is called that nobody has named: "Business fact: acme, renewal"."""
    name = f"{memory_type.replace('_', ' ').capitalize()}: {', '.join(tags)}"
    return name if len(name) <= 255 else f"{name[:254]}…"


class DueCluster(models.Model):
    """A cluster that may be missing, because two transactions did not see each other: beat looks within a minute.

    Rows are only added, so that nobody who stores memories waits for another.
    """

    namespace = namespace_key()
    memory_type = models.CharField(max_length=32)
    key = models.BinaryField()


class PatternType(models.TextChoices):
    PREFERENCE = "preference"
    WORKFLOW = "workflow"
    DECISION_PATTERN = "decision_pattern"


class KnowledgeQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int) -> "KnowledgeQuerySet":
        return self.filter(namespace_id=namespace_id)


class Pattern(models.Model):
    """Something that comes again and again with one user, or with nobody in particular."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    namespace = namespace_key()
    user_id = models.CharField("user", max_length=255, null=True, blank=True)
    pattern_type = models.CharField(max_length=32, choices=PatternType)
    key = models.CharField(max_length=255)
    description = models.TextField(null=True, blank=True)
    frequency = models.BigIntegerField(default=1)
    confidence = models.FloatField(default=1)
    # The newest of them.
    examples = ArrayField(models.CharField(max_length=500), default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = KnowledgeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["namespace", "user_id", "key"], nulls_distinct=False, name="pattern_is_kept_once"
            ),
            models.CheckConstraint(condition=Q(pattern_type__in=PatternType.values), name="pattern_type_is_known"),
            models.CheckConstraint(condition=Q(frequency__gte=1), name="pattern_occurs"),
            models.CheckConstraint(condition=Q(confidence__range=(0, 1)), name="pattern_confidence_is_0_to_1"),
            models.CheckConstraint(
                condition=Q(examples__len__lte=MAX_PATTERN_EXAMPLES), name="pattern_examples_are_bounded"
            ),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length(Cast("metadata", TextField())), 256 * 1024),
                name="pattern_metadata_is_bounded",
            ),
        ]
        indexes = [
            models.Index(F("namespace"), *NEWEST_FIRST, name="pattern_newest"),
            models.Index(*NEWEST_FIRST, name="pattern_newest_of_all"),
        ]

    def __str__(self) -> str:
        return self.key


class Preference(models.Model):
    """What a user likes, as a value under a key."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    namespace = namespace_key()
    user_id = models.CharField("user", max_length=255)
    key = models.CharField(max_length=255)
    # Any JSON, null too.
    value = models.JSONField()
    confidence = models.FloatField(default=1)
    source = models.CharField(max_length=255, default="api")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = KnowledgeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["namespace", "user_id", "key"], name="preference_is_kept_once"),
            models.CheckConstraint(condition=Q(confidence__range=(0, 1)), name="preference_confidence_is_0_to_1"),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length(Cast("value", TextField())), 256 * 1024),
                name="preference_value_is_bounded",
            ),
        ]
        indexes = [
            models.Index(F("namespace"), *NEWEST_FIRST, name="preference_newest"),
            models.Index(*NEWEST_FIRST, name="preference_newest_of_all"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.key}"
