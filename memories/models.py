"""Memories, their embeddings, the queue of embeddings to make, and runs that change the embedding model."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import connection, models
from django.db.models import Count, F, Func, Max, Q, Value
from django.db.models.functions import Cast, Coalesce, Greatest, Length, Now, Upper
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone
from pgvector import HalfVector
from pgvector.django import HalfVectorField, HnswIndex

from memories.embedding_queue import DueQuerySet
from memories.embeddings.base import DIMENSIONS, Vector
from memories.memory_types import Importance, MemoryType
from memories.search.filters import Filters
from memories.states import EVERY_STATE, State, is_active, is_alive, is_expired, not_expired
from memory_site.core.db import locks
from memory_site.core.db.fields import duration_field
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedForeignKey, NamespacedModel, NamespacedOneToOneField
from memory_site.core.db.retry import retry_on_deadlock
from memory_site.core.http.fields import MAX_KEY_LENGTH
from sessions_app.models import Namespace, namespace_key

MEMORY_TYPE_CHOICES = [(kind.value, kind.value) for kind in MemoryType]
#: The check of every table with a column `memory_type`. A new type needs a migration of each.
MEMORY_TYPE_IS_KNOWN = Q(memory_type__in=list(MemoryType))
LABEL_FIELDS = ("user_id", "agent_id", "workflow_id", "repo_id", "session_id")
CLOCK_IN_MICROSECONDS = Cast(Func(template="extract(epoch FROM clock_timestamp()) * 1000000"), models.BigIntegerField())
RECENT_PERIOD = timedelta(days=30)
#: Four times the limit of one request: storing the same content again unites tags, which must not grow without bound.
MAX_TAGS = 256
#: Memories with one of these tags are never outdated.
PRESERVED_TAGS = ["preserve", "important"]
#: A memory is outdated after so long without a use, unless it was used so often before.
UNUSED_PERIOD, MIN_USES_TO_KEEP = timedelta(days=90), 3
#: When a memory was last stored, changed, found or used. PostgreSQL's greatest() ignores NULL.
LAST_USED = Greatest("last_seen_at", "last_accessed_at", "updated_at")
NEWEST_FIRST = (F("created_at").desc(), F("id").desc())
#: The condition of partial indexes.
IS_HIDDEN = ~is_active()


def label_field(name: str) -> models.CharField:
    return models.CharField(name, max_length=255, null=True, blank=True)


class MemoryQuerySet(models.QuerySet):
    def alive(self, states: Collection[str] | None = None) -> "MemoryQuerySet":
        """Select memories that have not expired and are active, or in one of `states`. Every search and list starts
        from this."""
        return self.filter(is_alive(states=states))

    def in_namespace(self, namespace_id: int, states: Collection[str] | None = None) -> "MemoryQuerySet":
        """Select the live memories of one namespace. Every API operation starts from this."""
        return self.filter(namespace_id=namespace_id).alive(states)

    def stored_in(self, namespace_id: int) -> "MemoryQuerySet":
        """Select the unexpired memories of one namespace in every state: what can be read by id."""
        return self.filter(not_expired(), namespace_id=namespace_id)

    def matching(self, filters: Filters | None) -> "MemoryQuerySet":
        return self.filter(filters.conditions()) if filters else self

    def newest_first(self) -> "MemoryQuerySet":
        return self.order_by(*NEWEST_FIRST)

    def recent(self) -> "MemoryQuerySet":
        return self.filter(created_at__gte=Now() - RECENT_PERIOD).newest_first()

    def stale(self, age: timedelta) -> "MemoryQuerySet":
        """Select memories that were not stored again for `age`, except preserved ones."""
        rows = self.alias(last_stored=Coalesce("last_updated", "created_at"))
        return rows.not_preserved().filter(last_stored__lt=Now() - age)

    def outdated(self) -> "MemoryQuerySet":
        """Select memories of low importance that were used rarely, and neither stored here, changed, found nor used for
        UNUSED_PERIOD, except preserved ones and insights with a use.

        `created_at` does not count: a caller who imports history sets it.
        """
        return self.forgettable().alias(last_used=LAST_USED).filter(last_used__lt=Now() - UNUSED_PERIOD)

    def forgettable(self) -> "MemoryQuerySet":
        """Select memories that become outdated if nothing uses them for UNUSED_PERIOD."""
        rows = self.filter(importance__lte=Importance.LOW, access_count__lt=MIN_USES_TO_KEEP)
        return rows.not_preserved().exclude(insight__usage_count__gt=0)

    def not_preserved(self) -> "MemoryQuerySet":
        """Exclude memories with one of PRESERVED_TAGS, and important ones."""
        return self.exclude(Q(tags__overlap=PRESERVED_TAGS) | Q(metadata__contains={"important": True}))

    def important(self) -> "MemoryQuerySet":
        return self.filter(metadata__contains={"important": True}).newest_first()

    def summary(self) -> dict[str, Any]:
        """Return counts (all rows, by type, by user: the 100 largest, waiting, refused) and the last change."""
        totals = self.aggregate(total_memories=Count("pk"), last_update=Max("updated_at"))
        by_user = self.exclude(user_id=None).values_list("user_id").annotate(n=Count("pk")).order_by("-n", "user_id")
        return totals | {
            "by_type": dict(self.values_list("memory_type").annotate(n=Count("pk")).order_by("-n")),
            "by_user": dict(by_user[:100]),
            "embedding_backlog": self.waiting().count(),
            "embedding_refused": self.refused().count(),
        }

    def embedded(self) -> "MemoryQuerySet":
        return self.filter(due=None)

    def waiting(self) -> "MemoryQuerySet":
        """Select memories that wait to be embedded."""
        return self.filter(due__error="")

    def refused(self) -> "MemoryQuerySet":
        return self.filter(due__error__gt="")

    def expired(self) -> "MemoryQuerySet":
        return self.filter(is_expired())


class Memory(NamespacedModel):
    """A stored text with its labels. The row is wide and changes; its vector is in Embedding."""

    namespace = models.ForeignKey(
        Namespace, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="memories"
    )
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    content = models.TextField()
    summary = models.TextField(null=True, blank=True)
    data = models.JSONField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    memory_type = models.CharField(max_length=32, choices=MEMORY_TYPE_CHOICES, default=MemoryType.AGENT)
    source_system = models.CharField(max_length=255)
    user_id = label_field("user")
    agent_id = label_field("agent")
    workflow_id = label_field("workflow")
    repo_id = label_field("repository")
    session_id = label_field("session")
    # The caller's own name of it, unique for each user. By bytes, so that an index finds the beginnings of keys.
    key = models.CharField(max_length=MAX_KEY_LENGTH, db_collation="C", null=True, blank=True)
    # The document of which it is a chunk. No ForeignKey, because the app `ingestion` depends on this one; its migration
    # adds the constraint.
    document_id = models.UUIDField(null=True, editable=False)
    importance = models.SmallIntegerField(
        default=Importance.MEDIUM, choices=[(level.value, level.name) for level in Importance]
    )
    confidence = models.FloatField(default=1)
    tags = ArrayField(models.CharField(max_length=128), default=list, blank=True)
    entity_system = label_field("entity system")
    entity_id = label_field("entity id")
    entity_type = label_field("entity type")
    entity_name = label_field("entity name")
    # user_id, with "" for none: relationships reference (namespace, owner, id), so both ends are of one user.
    owner = models.GeneratedField(
        expression=Coalesce("user_id", Value("")), output_field=models.CharField(max_length=255), db_persist=True
    )
    base_relevance = models.FloatField(db_default=1)
    update_count = models.PositiveIntegerField(
        db_default=0, editable=False, help_text="How often its entity was stored again."
    )
    last_updated = models.DateTimeField(null=True, editable=False, help_text="When its entity was last stored again.")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(
        max_length=16, choices=State.choices, default=State.ACTIVE, db_default=State.ACTIVE, editable=False
    )
    # The memory that replaces it. No foreign key: a link survives that the other one is deleted and brought back.
    superseded_by = models.UUIDField(null=True, editable=False)
    # A trigger moves it with each change, whatever makes it; reading and counting do not. It begins with the time in
    # microseconds, so that a memory that comes back, or another one with its key, has a number of its own.
    revision = models.BigIntegerField(db_default=CLOCK_IN_MICROSECONDS, editable=False)
    access_count = models.PositiveIntegerField(default=0, editable=False)
    last_accessed_at = models.DateTimeField(null=True, editable=False)
    last_seen_at = models.DateTimeField(
        db_default=Now(),
        editable=False,
        help_text="When it was stored here or, to the day, last returned by a search. Only forgetting reads it.",
    )

    # PostgreSQL computes these two from the row (functions in 0001_functions).
    content_hash = models.GeneratedField(
        expression=Func("content", function="memories_sha256"), output_field=models.BinaryField(), db_persist=True
    )
    search_vector = models.GeneratedField(
        expression=Func("content", "summary", "data", function="memories_search_vector"),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    objects = MemoryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "memories"
        constraints = [
            # A memory is identified by the caller's key or, as an entity, by its id there; any other one by its
            # content and, in a conversation, by who said it.
            models.UniqueConstraint(
                "namespace",
                "memory_type",
                "user_id",
                "content_hash",
                "document_id",
                Func("metadata", function="memories_role"),
                condition=Q(entity_id=None, key=None),
                nulls_distinct=False,
                name="memory_is_kept_once",
            ),
            models.UniqueConstraint(
                fields=["namespace", "user_id", "key"],
                condition=Q(key__isnull=False),
                nulls_distinct=False,
                name="memory_has_its_key",
            ),
            models.CheckConstraint(condition=Q(key=None) | Q(entity_id=None), name="memory_with_a_key_is_no_entity"),
            models.UniqueConstraint(
                fields=["namespace", "user_id", "entity_system", "entity_id"],
                condition=Q(entity_id__isnull=False),
                nulls_distinct=False,
                name="entity_has_one_memory",
            ),
            models.UniqueConstraint(fields=["namespace", "owner", "id"], name="memory_of_owner"),
            models.CheckConstraint(condition=Q(base_relevance__range=(0, 1)), name="memory_base_relevance_is_0_to_1"),
            models.CheckConstraint(condition=Q(content__regex=r"\S"), name="memory_content_is_not_blank"),
            models.CheckConstraint(condition=MEMORY_TYPE_IS_KNOWN, name="memory_type_is_known"),
            models.CheckConstraint(condition=~Q(source_system=""), name="memory_source_is_named"),
            models.CheckConstraint(condition=Q(state__in=EVERY_STATE), name="memory_state_is_known"),
            models.CheckConstraint(
                condition=Q(superseded_by=None) | (Q(state=State.SUPERSEDED) & ~Q(superseded_by=F("id"))),
                name="only_a_superseded_memory_has_a_successor",
            ),
            models.CheckConstraint(condition=Q(tags__len__lte=MAX_TAGS), name="memory_tags_are_bounded"),
            *[
                models.CheckConstraint(
                    condition=LessThanOrEqual(Length(Cast(field, models.TextField())), 256 * 1024),
                    name=f"memory_{field}_is_bounded",
                )
                for field in ("metadata", "data")
            ],
            models.CheckConstraint(condition=Q(importance__range=(1, 5)), name="memory_importance_is_1_to_5"),
            # Rejects NaN too, which PostgreSQL sorts above every number.
            models.CheckConstraint(condition=Q(confidence__range=(0, 1)), name="memory_confidence_is_0_to_1"),
            models.CheckConstraint(
                condition=Q(entity_system=None, entity_id=None)
                | Q(entity_system__isnull=False, entity_id__isnull=False),
                name="entity_has_system_and_id",
            ),
        ]
        indexes = [
            # For the admin's list of all namespaces.
            models.Index(*NEWEST_FIRST, name="memory_newest_of_all"),
            models.Index(F("namespace"), *NEWEST_FIRST, name="memory_newest"),
            models.Index(F("namespace"), F("memory_type"), *NEWEST_FIRST, name="memory_by_type"),
            models.Index(F("namespace"), F("source_system"), *NEWEST_FIRST, name="memory_by_source"),
            *[
                models.Index(
                    F("namespace"),
                    F(field),
                    *NEWEST_FIRST,
                    name=f"memory_by_{field.removesuffix('_id')}",
                    condition=Q((f"{field}__isnull", False)),
                )
                for field in (*LABEL_FIELDS, "entity_system")
            ],
            models.Index(
                F("namespace"),
                *NEWEST_FIRST,
                name="memory_important",
                condition=Q(metadata__contains={"important": True}),
            ),
            models.Index(
                F("namespace"), F("document_id"), name="memory_by_document", condition=Q(document_id__isnull=False)
            ),
            # For entity ids in a query, whatever their case.
            models.Index(
                F("namespace"),
                F("user_id"),
                Upper("entity_id"),
                name="memory_by_entity_id",
                condition=Q(entity_id__isnull=False),
            ),
            # For a user's totals, from which the expired ones are subtracted.
            models.Index(
                F("namespace"),
                F("user_id"),
                F("expires_at"),
                name="memory_expiring_of_user",
                condition=Q(expires_at__isnull=False, user_id__isnull=False),
            ),
            models.Index(
                F("namespace"), F("expires_at"), name="memory_expiring", condition=Q(expires_at__isnull=False)
            ),
            # Hidden memories are few: lists of them, what is subtracted from a user's totals, and what one replaced.
            models.Index(F("namespace"), F("state"), *NEWEST_FIRST, name="memory_hidden", condition=IS_HIDDEN),
            models.Index(F("namespace"), F("user_id"), name="memory_hidden_of_user", condition=IS_HIDDEN),
            models.Index(
                F("namespace"),
                F("superseded_by"),
                name="memory_successor",
                condition=Q(superseded_by__isnull=False),
            ),
            # Without fastupdate: no search has to scan a pending list of new entries.
            GinIndex(F("search_vector"), name="memory_words", fastupdate=False),
            GinIndex(F("tags"), name="memory_tags", fastupdate=False),
            GinIndex(name="memory_metadata", fields=["metadata"], opclasses=["jsonb_path_ops"], fastupdate=False),
        ]

    def __str__(self) -> str:
        return self.content if len(self.content) <= 80 else f"{self.content[:79]}…"


class DueEmbedding(NamespacedModel):
    """A memory that waits to be embedded. Triggers insert the row for new content (memories/triggers.py); storing the
    vector deletes it.

    A table of its own, because claiming and finishing would otherwise rewrite the wide row and its indexes twice.
    """

    namespace = namespace_key()
    memory = NamespacedOneToOneField(
        Memory, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="due"
    )
    due_at = models.DateTimeField()
    attempts = models.SmallIntegerField(db_default=0)
    error = models.TextField(db_default="")
    characters = models.IntegerField()
    queued_at = models.DateTimeField(db_default=Now())

    objects = DueQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(F("namespace"), F("due_at"), name="embedding_due")]

    def __str__(self) -> str:
        return f"due after {self.due_at:%Y-%m-%d %H:%M:%S}"


# FOR SHARE locks the memory, so that its labels, state and content cannot change meanwhile, and the namespace against a
# change of its model. Memories with keys are locked in the order in which bulks replace them (`make_identity`), so that
# the two do not deadlock. Only vectors of the active model, or of one that an open re-embedding switches to, are
# stored.
UPSERT_EMBEDDINGS_SQL = """
WITH made (id, content_hash, vector) AS (VALUES {made}),
fresh AS (
    SELECT memory.id, namespace_id, user_id, memory_type, repo_id, expires_at,
           coalesce(namespace.embedding_model, %(model)s) = %(model)s AS is_active
    FROM memories_memory memory JOIN made ON memory.id = made.id AND memory.content_hash = made.content_hash
    JOIN sessions_app_namespace namespace ON namespace.id = memory.namespace_id
    CROSS JOIN (
        SELECT CASE WHEN current_setting('lock_timeout') = '0' THEN set_config('lock_timeout', %(wait)s, true) END
    ) bounded
    WHERE memory.namespace_id = %(namespace)s AND memory.state = 'active' AND (
        coalesce(namespace.embedding_model, %(model)s) = %(model)s OR EXISTS (
            SELECT FROM memories_reembedding run
            WHERE run.namespace_id = %(namespace)s AND run.model = %(model)s AND run.finished_at IS NULL
        )
    )
    ORDER BY memory.user_id COLLATE "C" NULLS FIRST, memory.key, memory.id
    FOR SHARE OF memory, namespace
),
dequeued AS (
    DELETE FROM memories_dueembedding due USING fresh
    WHERE due.namespace_id = %(namespace)s AND due.memory_id = fresh.id AND fresh.is_active
)
INSERT INTO memories_embedding
    (memory_id, namespace_id, user_id, memory_type, repo_id, expires_at, model, content_hash, vector, created_at)
SELECT id, namespace_id, user_id, memory_type, repo_id, expires_at, %(model)s, content_hash, vector, now()
FROM fresh JOIN made USING (id)
ON CONFLICT (namespace_id, memory_id, model) DO UPDATE SET
    content_hash = excluded.content_hash, vector = excluded.vector, created_at = excluded.created_at
"""


class EmbeddingQuerySet(models.QuerySet):
    def alive(self) -> "EmbeddingQuerySet":
        """Select vectors of memories that have not expired. A hidden memory has none."""
        return self.filter(not_expired())

    def in_namespace(self, namespace_id: int) -> "EmbeddingQuerySet":
        """Select the vectors of one namespace's live memories."""
        return self.filter(namespace_id=namespace_id).alive()

    def matching(self, filters: Filters | None) -> "EmbeddingQuerySet":
        """Apply filters that use only the columns repeated here: those of `Filters.labels`."""
        return self.filter(filters.conditions()) if filters else self

    def of_model(self, model: str) -> "EmbeddingQuerySet":
        """Select vectors of one model: those of two models cannot be compared."""
        return self.filter(model=model)

    @retry_on_deadlock
    def write(self, namespace_id: int, model: str, made: Sequence[tuple[UUID, bytes, list[float] | Vector]]) -> int:
        """Store vectors (memory id, content hash, unit vector) of a namespace's memories and, if the model is active
        there, delete the memories' rows of the queue, in one statement. Return how many vectors were stored.

        Waits for a locked row as `bounded_transaction` does, without one: it is the statement of each small namespace.
        A vector whose hash no longer matches is skipped: the memory was edited or deleted while its old content was
        embedded.
        """
        rows = ", ".join(f"(%(id{n})s::uuid, %(hash{n})s::bytea, %(vector{n})s::halfvec)" for n in range(len(made)))
        wait = locks.format_timeout(locks.MAX_BACKGROUND_WAIT_SECONDS)
        parameters: dict[str, Any] = {"namespace": namespace_id, "model": model, "wait": wait}
        for n, (pk, digest, vector) in enumerate(made):
            parameters |= {f"id{n}": pk, f"hash{n}": digest, f"vector{n}": HalfVector(vector)}
        with connection.cursor() as cursor:
            cursor.execute(UPSERT_EMBEDDINGS_SQL.format(made=rows), parameters)
            return cursor.rowcount


class Embedding(NamespacedModel):
    """The vector of one memory by one model, derived from its content. During a re-embedding a memory has two.

    The labels and the expiry repeat the memory's, so that one owner's vectors can be scanned without reading the wide
    rows; a trigger keeps them equal.
    """

    pk = models.CompositePrimaryKey("namespace_id", "memory_id", "model")
    namespace = namespace_key()
    memory = NamespacedForeignKey(
        Memory, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="embeddings"
    )
    user_id = label_field("user")
    memory_type = models.CharField(max_length=32)
    repo_id = label_field("repository")
    expires_at = models.DateTimeField(null=True)
    model = models.CharField(max_length=255)
    content_hash = models.BinaryField()
    vector = HalfVectorField(dimensions=DIMENSIONS)
    created_at = models.DateTimeField(db_default=Now())

    objects = EmbeddingQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(F("namespace"), F("model"), F("user_id"), name="embedding_owner"),
            # With ef_construction 64, pgvector's default, two of a hundred among a million were never found.
            HnswIndex(
                name="embedding_nearest", fields=["vector"], m=16, ef_construction=128, opclasses=["halfvec_ip_ops"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} vector"


class NamespaceSize(NamespacedModel):
    """How many memories a namespace had when they were last counted (memories/namespace_sizes.py).

    Searches choose by it between the exact scan and the index. The planner's own estimates would not do: a partitioned
    or distributed table has none as a whole.
    """

    namespace = models.OneToOneField(
        Namespace, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="+"
    )
    memories = models.PositiveIntegerField()
    # The namespace's own and those of all others whose vectors are in the same index.
    memories_in_index = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"{self.memories} memories"


class Reembedding(NamespacedModel):
    """A run that embeds a namespace with another model. Searches use the old vectors until `switched_at`; then those
    are deleted."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    model = models.CharField(max_length=255)
    earlier_model = models.CharField(max_length=255, null=True)
    memories_total = models.PositiveIntegerField(null=True)
    memories_done = models.PositiveIntegerField(default=0)
    memories_refused = models.PositiveIntegerField(default=0)
    error = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    last_heartbeat_at = models.DateTimeField(db_default=Now())
    switched_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    duration_seconds = duration_field("created_at", "finished_at")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["namespace"], condition=Q(finished_at=None), name="one_reembedding_of_a_namespace_at_a_time"
            ),
        ]
        indexes = [
            models.Index(F("created_at").desc(), F("id").desc(), name="reembedding_newest_of_all"),
        ]

    def __str__(self) -> str:
        return f"{self.model}, {self.created_at:%Y-%m-%d %H:%M}"
