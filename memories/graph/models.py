"""How memories hang together: Relationships, those that still wait for an entity, and what a user's graph comes to."""

from collections.abc import Collection
from uuid import UUID

from django.db import models
from django.db.models import F, Q, Sum
from django.db.models.functions import Now

from memory_site.core.db.ids import uuid7
from sessions_app.models import namespace_key


class RelationshipType(models.TextChoices):
    LED_TO = "led_to"
    RELATES_TO = "relates_to"
    DEPENDS_ON = "depends_on"
    PRODUCES = "produces"
    BELONGS_TO = "belongs_to"
    CONTRADICTS = "contradicts"
    REFINES = "refines"
    ANSWERS = "answers"


def memory_foreign_key(related_name: str) -> models.ForeignKey:
    """PostgreSQL checks it together with namespace and owner (0002_foreign_keys), so that both ends have the same."""
    return models.ForeignKey(
        "memories.Memory", models.DO_NOTHING, db_constraint=False, db_index=False, related_name=related_name
    )


def not_expired(memory: str) -> Q:
    return Q((f"{memory}__expires_at", None)) | Q((f"{memory}__expires_at__gt", Now()))


class BaseRelationshipQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int) -> "BaseRelationshipQuerySet":
        """Those of living memories. Every operation of a caller starts here."""
        return self.filter(not_expired("from_memory"), namespace_id=namespace_id)


class RelationshipQuerySet(BaseRelationshipQuerySet):
    def in_namespace(self, namespace_id: int) -> "RelationshipQuerySet":
        return super().in_namespace(namespace_id).filter(not_expired("to_memory"))

    def of_memory(self, pk: UUID) -> "RelationshipQuerySet":
        """In both directions."""
        return self.filter(Q(from_memory=pk) | Q(to_memory=pk))

    def among(self, keys: Collection[UUID]) -> "RelationshipQuerySet":
        """Those with both ends among these memories."""
        return self.filter(from_memory__in=keys, to_memory__in=keys)


class BaseRelationship(models.Model):
    """What a relationship says, whether or not both its ends are there."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    namespace = namespace_key()
    # Of both memories: the user, or nothing for nobody.
    owner = models.CharField(max_length=255, blank=True, editable=False)
    type = models.CharField(max_length=16, choices=RelationshipType, default=RelationshipType.RELATES_TO)
    strength = models.FloatField(default=1)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(condition=Q(type__in=RelationshipType.values), name="%(class)s_type_is_known"),
            models.CheckConstraint(condition=Q(strength__range=(0, 1)), name="%(class)s_strength_is_0_to_1"),
        ]


class Relationship(BaseRelationship):
    """From one memory to another of the same user; the same pair and type again is the same relationship."""

    from_memory = memory_foreign_key("outgoing")
    to_memory = memory_foreign_key("incoming")

    objects = RelationshipQuerySet.as_manager()

    class Meta(BaseRelationship.Meta):
        constraints = [
            *BaseRelationship.Meta.constraints,
            models.UniqueConstraint(fields=["from_memory", "to_memory", "type"], name="relationship_is_kept_once"),
            models.CheckConstraint(condition=~Q(from_memory=F("to_memory")), name="relationship_joins_two"),
        ]
        indexes = [
            # With the owner, so that one user's whole graph is read from the index alone.
            models.Index(F("namespace"), F("owner"), F("from_memory"), F("to_memory"), name="relationship_of_owner"),
            models.Index(F("to_memory"), name="relationship_to"),
        ]

    def __str__(self) -> str:
        return f"{self.from_memory_id} {self.type} {self.to_memory_id}"


class PendingRelationship(BaseRelationship):
    """A relationship whose other end, an entity, is not known yet: a trigger makes it when the entity arrives, or beat
    within a minute when both arrive at the same moment."""

    from_memory = memory_foreign_key("+")
    entity_system = models.CharField(max_length=255)
    entity_id = models.CharField(max_length=255)
    # Whether the entity is where the relationship begins.
    reverse = models.BooleanField(default=False)

    objects = BaseRelationshipQuerySet.as_manager()

    class Meta(BaseRelationship.Meta):
        constraints = [
            *BaseRelationship.Meta.constraints,
            models.UniqueConstraint(
                fields=["from_memory", "entity_system", "entity_id", "type", "reverse"], name="pending_is_kept_once"
            ),
        ]
        indexes = [
            models.Index(F("namespace"), F("owner"), F("entity_system"), F("entity_id"), name="pending_for_entity"),
        ]

    def __str__(self) -> str:
        return f"{self.from_memory_id} {self.type} {self.entity_system} {self.entity_id}"


class UserTotalQuerySet(models.QuerySet):
    def sum_by_user(self, namespace_id: int) -> "UserTotalQuerySet":
        """{user_id, memory_total, relationship_total} of everyone who has anything."""
        totals = {"memory_total": Sum("memories"), "relationship_total": Sum("relationships")}
        found = self.filter(namespace_id=namespace_id).order_by("user_id").values("user_id").annotate(**totals)
        return found.filter(Q(memory_total__gt=0) | Q(relationship_total__gt=0))


class UserTotal(models.Model):
    """What was added to a user's memories and relationships, kept by triggers: the sum over all his rows is his total.

    Rows are only added, so that two writers for one user never wait for each other; a clean-up sums them up. What has
    expired counts until it is deleted.
    """

    namespace = namespace_key()
    user_id = models.CharField(max_length=255)
    memories = models.BigIntegerField(db_default=0)
    relationships = models.BigIntegerField(db_default=0)

    objects = UserTotalQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(F("namespace"), F("user_id"), name="user_total")]


class UserStatistics(models.Model):
    """What a user had at the last refresh: a materialized view (0004_user_statistics) of living memories."""

    pk = models.CompositePrimaryKey("namespace_id", "user_id")
    namespace = namespace_key()
    user_id = models.CharField(max_length=255)
    memories = models.BigIntegerField()
    relationships = models.BigIntegerField()
    entities = models.BigIntegerField()
    # How many memories by type.
    types = models.JSONField()
    first_at = models.DateTimeField()
    latest_at = models.DateTimeField()
    refreshed_at = models.DateTimeField()

    class Meta:
        managed = False


class Erasure(models.Model):
    """The audit line of an erased user: when, by whom, how much, and a digest in place of his name."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    namespace = namespace_key()
    user_digest = models.BinaryField(editable=False)
    requested_by = models.CharField(max_length=255)
    # How many rows by kind.
    erased = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(F("created_at").desc(), F("id").desc(), name="erasure_newest_of_all")]

    def __str__(self) -> str:
        return f"erased {self.created_at:%Y-%m-%d %H:%M}"
