"""Models derived from memories: clusters of memories with the same tags, patterns of behaviour, users' preferences."""

from datetime import timedelta
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Case, Count, F, Func, OuterRef, Q, Subquery, TextField, Value, When
from django.db.models.functions import Cast, Coalesce, Least, Length, Now
from django.db.models.lookups import GreaterThan, LessThanOrEqual

from memories.models import MEMORY_TYPE_CHOICES, MEMORY_TYPE_IS_KNOWN, NEWEST_FIRST, Memory, MemoryQuerySet
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedModel
from sessions_app.models import namespace_key

#: importance = min(5, 0.1 * members + (1.0 if changed within seven days else 0.5))
MEMBER_WEIGHT, CHANGED_CLUSTER_WEIGHT, UNCHANGED_CLUSTER_WEIGHT, MAX_CLUSTER_IMPORTANCE = 0.1, 1.0, 0.5, 5.0
RECENT_CHANGE_PERIOD = timedelta(days=7)
#: Counting stops here: 50 members alone reach the maximum importance.
MAX_WEIGHED_MEMBERS = round(MAX_CLUSTER_IMPORTANCE / MEMBER_WEIGHT)
MAX_LISTED_MEMBERS = 20
MAX_PATTERN_EXAMPLES = 10


class HasTags(Func):
    """Match the condition of the partial index `memory_by_tags`, so that the planner can use it."""

    template = "cardinality(%(expressions)s) > 0"
    output_field = models.BooleanField()


class TagsKey(Func):
    function = "knowledge_tags_key"
    output_field = models.BinaryField()


def get_members_queryset(namespace: Any, memory_type: Any, key: Any) -> MemoryQuerySet:
    """Return the unexpired memories of a type whose set of tags has this key. Arguments: values or expressions."""
    rows = Memory.objects.alive().alias(tags_key=TagsKey("tags")).filter(HasTags("tags"))
    return rows.filter(namespace_id=namespace, memory_type=memory_type, tags_key=key)


def count_up_to(memories: MemoryQuerySet, limit: int) -> Func:
    """Return an expression that counts the rows of a subquery, at most `limit` of them.

    An array subquery is evaluated for each outer row; EXISTS may be planned as a join that reads all memories first.
    """
    ids = ArraySubquery(memories.values("pk")[:limit])
    return Func(ids, function="cardinality", output_field=models.IntegerField())


#: No restriction of which memories count as members.
EVERY_MEMBER = Q()


def get_cluster_members(namespace_id: int | None, condition: Q = EVERY_MEMBER) -> MemoryQuerySet:
    """Return the subquery of a cluster's members that meet the condition. `namespace_id` is that of all clusters; with
    None each has its own."""
    namespace = OuterRef("namespace_id") if namespace_id is None else namespace_id
    return get_members_queryset(namespace, OuterRef("memory_type"), OuterRef("key")).filter(condition)


class ClusterQuerySet(models.QuerySet["Cluster"]):
    """Clusters. Where a method takes a condition, only memories that meet it count as members; `namespace_id` is the
    namespace that the clusters were selected of, if it was one."""

    def with_any_member(self, namespace_id: int | None, condition: Q = EVERY_MEMBER) -> "ClusterQuerySet":
        return self.filter(GreaterThan(count_up_to(get_cluster_members(namespace_id, condition), 1), 0))

    def in_namespace(self, namespace_id: int) -> "ClusterQuerySet":
        """Return a namespace's clusters, without those whose members have all expired and that have no description.

        Every operation of a caller starts here.
        """
        has_member = GreaterThan(count_up_to(get_cluster_members(namespace_id), 1), 0)
        return self.filter(Q(is_explicit=True) | Q(has_member), namespace_id=namespace_id)

    def with_importance(self, namespace_id: int | None, condition: Q = EVERY_MEMBER) -> "ClusterQuerySet":
        """Annotate `importance_score`, 0.5 to 5. A new member counts as a change of the cluster."""
        members, since = get_cluster_members(namespace_id, condition), Now() - RECENT_CHANGE_PERIOD
        has_new_member = GreaterThan(count_up_to(members.filter(created_at__gte=since), 1), 0)
        change_weight = Case(
            When(Q(updated_at__gte=since) | Q(has_new_member), then=CHANGED_CLUSTER_WEIGHT),
            default=UNCHANGED_CLUSTER_WEIGHT,
        )
        weight = Cast(count_up_to(members, MAX_WEIGHED_MEMBERS), models.FloatField()) * MEMBER_WEIGHT + change_weight
        return self.annotate(importance_score=Least(weight, MAX_CLUSTER_IMPORTANCE, output_field=models.FloatField()))

    def with_members(self, namespace_id: int | None, condition: Q = EVERY_MEMBER) -> "ClusterQuerySet":
        """Annotate `member_count` and `members`, the ids of the newest 20."""
        members = get_cluster_members(namespace_id, condition)
        count = members.order_by().values(all=Value(1)).annotate(count=Count("*")).values("count")
        newest = members.newest_first().values("pk")[:MAX_LISTED_MEMBERS]
        return self.annotate(member_count=Coalesce(Subquery(count), 0), members=ArraySubquery(newest))

    def matching_words(self, query: str) -> "ClusterQuerySet":
        """Filter to clusters whose name, description, tags or topics share a word with the query."""
        return self.filter(words__overlap=Func(Value(query), function="knowledge_lexemes"))


class Cluster(NamespacedModel):
    """The memories of one type that have the same set of tags. The members are never stored.

    A trigger inserts the row with the first such memory, and deletes it with the last one unless a caller has named or
    described the cluster (memories/triggers.py).
    """

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    memory_type = models.CharField(max_length=32, choices=MEMORY_TYPE_CHOICES)
    # Unique, in byte order: a check constraint enforces both.
    tags = ArrayField(models.CharField(max_length=128))
    # SHA-256 of the tags: 256 tags of 128 characters do not fit into an index entry.
    key = models.GeneratedField(
        expression=Func("tags", function="knowledge_tags_key"), output_field=models.BinaryField(), db_persist=True
    )
    name = models.CharField(max_length=255, blank=True, help_text="Its type and tags, when there is none.")
    description = models.TextField(null=True, blank=True)
    topics = ArrayField(models.CharField(max_length=255), default=list, blank=True)
    confidence = models.FloatField(db_default=1)
    # Whether a caller has named or described it; such a cluster stays without members.
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
            models.UniqueConstraint(fields=["namespace", "memory_type", "key"], name="cluster_is_kept_once"),
            models.CheckConstraint(condition=MEMORY_TYPE_IS_KNOWN, name="cluster_type_is_known"),
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
    """Return the default name, at most 255 characters: "Business fact: acme, renewal"."""
    name = f"{memory_type.replace('_', ' ').capitalize()}: {', '.join(tags)}"
    return name if len(name) <= 255 else f"{name[:254]}…"


class DueCluster(NamespacedModel):
    """A cluster whose row may be missing because two concurrent transactions did not see each other's memories.

    A periodic task creates it within a minute. Writers only insert here, so they never wait for each other.
    """

    namespace = namespace_key()
    id = models.BigAutoField(primary_key=True)
    memory_type = models.CharField(max_length=32)
    key = models.BinaryField()


class PatternType(models.TextChoices):
    PREFERENCE = "preference"
    WORKFLOW = "workflow"
    DECISION_PATTERN = "decision_pattern"


class KnowledgeQuerySet(models.QuerySet[Any]):
    def in_namespace(self, namespace_id: int) -> "KnowledgeQuerySet":
        return self.filter(namespace_id=namespace_id)


class Pattern(NamespacedModel):
    """A recurring behaviour of one user, or one of no particular user (`user_id` is null)."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user_id = models.CharField("user", max_length=255, null=True, blank=True)
    pattern_type = models.CharField(max_length=32, choices=PatternType)
    key = models.CharField(max_length=255)
    description = models.TextField(null=True, blank=True)
    frequency = models.BigIntegerField(default=1)
    confidence = models.FloatField(default=1)
    # The newest, at most 10.
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


class Preference(NamespacedModel):
    """A user's preference: a JSON value under a key."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user_id = models.CharField("user", max_length=255)
    key = models.CharField(max_length=255)
    # Any JSON value, null included.
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
