"""Relationships between memories, pending ones, and totals, statistics and erasures of users."""

import textwrap
from collections.abc import Collection, Iterable
from typing import Any, Self
from uuid import UUID

from django.db import models
from django.db.models import F, Func, OuterRef, Q, Subquery, Sum
from django.db.models.expressions import Combinable, RawSQL
from django.db.models.functions import Now

from memories.models import Memory
from memories.states import is_active, is_alive, is_expired, not_expired
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedForeignKey, NamespacedModel
from sessions_app.models import namespace_key

#: The two foreign keys of a relationship.
END_FIELDS = ("from_memory", "to_memory")
#: Characters of a memory in the name of a relationship.
MAX_END_LENGTH = 60


class RelationshipType(models.TextChoices):
    LED_TO = "led_to"
    RELATES_TO = "relates_to"
    DEPENDS_ON = "depends_on"
    PRODUCES = "produces"
    BELONGS_TO = "belongs_to"
    CONTRADICTS = "contradicts"
    REFINES = "refines"
    ANSWERS = "answers"


def memory_foreign_key(related_name: str) -> NamespacedForeignKey:
    """Return a key that PostgreSQL checks with namespace and owner (0002_foreign_keys): both ends have the same."""
    return NamespacedForeignKey(
        "memories.Memory", models.DO_NOTHING, db_constraint=False, db_index=False, related_name=related_name
    )


class BaseRelationshipQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int, states: Collection[str] | None = None) -> Self:
        """Select relationships of live memories, in one of `states`. Every operation of a caller starts here."""
        return self.filter(is_alive("from_memory__", states), namespace_id=namespace_id)


class RelationshipQuerySet(BaseRelationshipQuerySet):
    def in_namespace(self, namespace_id: int, states: Collection[str] | None = None) -> Self:
        return super().in_namespace(namespace_id, states).filter(is_alive("to_memory__", states))

    def of_memory(self, pk: UUID, others: Collection[UUID] | None = None) -> Self:
        """Select its relationships in both directions; with `others`, those with one of these memories."""
        ends = (Q(from_memory=pk), Q(to_memory=pk))
        if others is not None:
            ends = (ends[0] & Q(to_memory__in=others), ends[1] & Q(from_memory__in=others))
        return self.filter(ends[0] | ends[1])

    def among(self, keys: Collection[UUID]) -> Self:
        """Select relationships with both ends among these memories."""
        return self.filter(from_memory__in=keys, to_memory__in=keys)


class BaseRelationship(NamespacedModel):
    """The columns that a relationship has whether or not both its ends exist."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # The user of both memories; empty for memories without a user.
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
    """From one memory to another of the same user; unique by pair and type."""

    from_memory = memory_foreign_key("outgoing")
    to_memory = memory_foreign_key("incoming")

    objects = RelationshipQuerySet.as_manager()

    class Meta(BaseRelationship.Meta):
        constraints = [
            *BaseRelationship.Meta.constraints,
            models.UniqueConstraint(
                fields=["namespace", "from_memory", "to_memory", "type"], name="relationship_is_kept_once"
            ),
            models.CheckConstraint(condition=~Q(from_memory=F("to_memory")), name="relationship_joins_two"),
        ]
        indexes = [
            # With the owner, so that an index-only scan reads the graph of one user.
            models.Index(F("namespace"), F("owner"), F("from_memory"), F("to_memory"), name="relationship_of_owner"),
            models.Index(F("namespace"), F("to_memory"), name="relationship_to"),
        ]

    def __str__(self) -> str:
        """Return the beginnings of both memories, where the query has annotated them, or else their ids."""
        names = [getattr(self, f"{end}_beginning", None) or str(getattr(self, f"{end}_id")) for end in END_FIELDS]
        start, finish = (textwrap.shorten(name, MAX_END_LENGTH, placeholder="…") for name in names)
        return f"{start} {self.type.replace('_', ' ')} {finish}"


class PendingRelationship(BaseRelationship):
    """A relationship to an entity that is not stored yet. A trigger resolves it when the entity is stored, or a task
    within a minute when both are stored at the same moment."""

    from_memory = memory_foreign_key("+")
    entity_system = models.CharField(max_length=255)
    entity_id = models.CharField(max_length=255)
    # Whether the relationship leads from the entity to the memory.
    reverse = models.BooleanField(default=False)

    objects = BaseRelationshipQuerySet.as_manager()

    class Meta(BaseRelationship.Meta):
        constraints = [
            *BaseRelationship.Meta.constraints,
            models.UniqueConstraint(
                fields=["namespace", "from_memory", "entity_system", "entity_id", "type", "reverse"],
                name="pending_is_kept_once",
            ),
        ]
        indexes = [
            models.Index(F("namespace"), F("owner"), F("entity_system"), F("entity_id"), name="pending_for_entity"),
        ]

    def __str__(self) -> str:
        return f"{self.from_memory_id} {self.type} {self.entity_system} {self.entity_id}"


def list_hidden_of_user(namespace_id: int | None, memory: str = "") -> tuple[Q, Q]:
    """Return the conditions on rows of an outer row's user whose memory, the one at this path, has expired, or has not
    but is not active: an index answers each of them, but none answers both.

    `namespace_id` is the namespace of all outer rows, if they have one.
    """
    # A literal: with parameters PostgreSQL takes equal subqueries for different ones, and plans each of them twice.
    namespace = OuterRef("namespace") if namespace_id is None else RawSQL(f"{namespace_id:d}", ())  # noqa: S611
    labels = {"namespace": namespace, "user_id": OuterRef("user_id")}
    of_user = Q(**{f"{memory}{name}": value for name, value in labels.items()})
    return of_user & is_expired(memory), of_user & ~is_active(memory) & not_expired(memory)


def count_rows(model: type[models.Model], conditions: Iterable[Q]) -> Combinable:
    """Return the number of rows that meet one of the conditions, of which no row meets two. They are correlated."""
    queries = [model._default_manager.filter(condition).order_by() for condition in conditions]
    # A Func, because an aggregate would group the rows.
    number = Func("pk", function="count", output_field=models.BigIntegerField())
    counts: list[Any] = [Subquery(rows.values(number=number)) for rows in queries]
    return sum(counts[1:], start=counts[0])


class UserTotalQuerySet(models.QuerySet):
    def sum_by_user(self, *labels: str, namespace_id: int | None) -> "UserTotalQuerySet":
        """Return {*labels, user_id, memory_total, relationship_total} of the users who have memories or relationships.

        What has expired or is not active is subtracted; it is in the sums until it is deleted. `namespace_id` is the
        namespace that the totals were selected of, if it was one.
        """
        hidden = count_rows(Memory, list_hidden_of_user(namespace_id))
        # Of relationships with two hidden ends, the last two conditions leave out what the first two count.
        to_hidden = [each & is_alive("from_memory__") for each in list_hidden_of_user(namespace_id, "to_memory__")]
        ended = count_rows(Relationship, [*list_hidden_of_user(namespace_id, "from_memory__"), *to_hidden])
        totals = {"memory_total": Sum("memories") - hidden, "relationship_total": Sum("relationships") - ended}
        sums = self.order_by(*labels, "user_id").values(*labels, "user_id").annotate(**totals)
        return sums.filter(Q(memory_total__gt=0) | Q(relationship_total__gt=0))


class UserTotal(NamespacedModel):
    """A change of the number of a user's memories and relationships, inserted by triggers; the sum is the total.

    Rows are only inserted, so that two writers for one user never wait for each other; `compact_totals` sums them up.
    Expired and hidden memories are in the sum until they are deleted; `sum_by_user` subtracts them.
    """

    namespace = namespace_key()
    id = models.BigAutoField(primary_key=True)
    user_id = models.CharField(max_length=255)
    memories = models.BigIntegerField(db_default=0)
    relationships = models.BigIntegerField(db_default=0)

    objects = UserTotalQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(F("namespace"), F("user_id"), name="user_total")]


class UserStatistics(NamespacedModel):
    """Statistics of a user at the last refresh: a materialized view (0009_without_hidden) of active memories that have
    not expired."""

    pk = models.CompositePrimaryKey("namespace_id", "user_id")
    namespace = namespace_key()
    user_id = models.CharField(max_length=255)
    memories = models.BigIntegerField()
    relationships = models.BigIntegerField()
    entities = models.BigIntegerField()
    # Numbers of memories by type.
    types = models.JSONField()
    first_at = models.DateTimeField()
    latest_at = models.DateTimeField()
    refreshed_at = models.DateTimeField()

    class Meta:
        managed = False


class Erasure(NamespacedModel):
    """The audit line of an erased user: when, by whom, how many rows, and a digest in place of the user id."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user_digest = models.BinaryField(editable=False)
    requested_by = models.CharField(max_length=255)
    # Numbers of rows by kind.
    erased = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(F("created_at").desc(), F("id").desc(), name="erasure_newest_of_all")]

    def __str__(self) -> str:
        return f"erased {self.created_at:%Y-%m-%d %H:%M}"


class Entity(Memory):
    """A memory that describes a record of another system; for the console's list of entities."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name_plural = "entities"
