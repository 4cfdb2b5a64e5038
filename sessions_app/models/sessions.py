"""SessionMemory, a bounded history that expires, and SessionLink, which links two sessions."""

from datetime import timedelta

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import ExpressionWrapper, F, Func, Q, Value
from django.db.models.functions import Coalesce, Now

from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedModel
from sessions_app.models.access import namespace_key

#: The longest time to live of a session: a hundred years, which a PostgreSQL interval can hold.
MAX_TTL_HOURS = 100 * 365 * 24


def expiry_cutoff() -> ExpressionWrapper:
    """Return the time before which a session's interactions have expired; without a newer one, so has the session."""
    hours = Coalesce(F("ttl_hours"), Value(settings.MEMORY_TTL_HOURS, models.FloatField()))
    return ExpressionWrapper(Now() - hours * Value(timedelta(hours=1)), models.DateTimeField())


class SessionQuerySet(models.QuerySet):
    def alive(self) -> "SessionQuerySet":
        """Return the unexpired sessions. Every read starts from these, so that nothing depends on the clean-up."""
        return self.filter(updated_at__gt=expiry_cutoff())

    def in_namespace(self, namespace_id: int) -> "SessionQuerySet":
        return self.filter(namespace_id=namespace_id).alive()

    def with_length(self) -> "SessionQuerySet":
        """Annotate `history_length`, the number of unexpired interactions."""
        unexpired = Func(
            F("history"), expiry_cutoff(), Value(settings.MEMORY_MAX_CONTEXT_LENGTH), function="sessions_trim_history"
        )
        return self.annotate(
            history_length=Func(unexpired, function="jsonb_array_length", output_field=models.IntegerField())
        )

    def outdated(self, max_age_hours: float | None = None) -> "SessionQuerySet":
        """Return the sessions not added to for `max_age_hours`, or by default for their time to live."""
        if max_age_hours is None:
            return self.filter(updated_at__lte=expiry_cutoff())
        return self.filter(updated_at__lte=Now() - timedelta(hours=max_age_hours))


class SessionMemory(NamespacedModel):
    """The last interactions of one session, oldest first. Only the statements of history.py add to it."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session_id = models.CharField(max_length=255)
    # [{query, answer, timestamp}], or [{sealed, timestamp}] when encrypted; times in UTC, ISO 8601.
    history = models.JSONField(default=list)
    ttl_hours = models.FloatField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = "session"
        constraints = [
            models.UniqueConstraint(fields=["namespace", "session_id"], name="session_is_kept_once"),
            models.CheckConstraint(condition=~Q(session_id=""), name="session_has_an_id"),
            models.CheckConstraint(
                condition=Q(ttl_hours=None) | Q(ttl_hours__gt=0, ttl_hours__lte=MAX_TTL_HOURS),
                name="session_ttl_is_positive",
            ),
        ]
        indexes = [
            models.Index(F("namespace"), F("updated_at").desc(), F("id").desc(), name="session_newest"),
            models.Index(F("updated_at").desc(), F("id").desc(), name="session_newest_of_all"),
            GinIndex(name="session_history", fields=["history"], opclasses=["jsonb_path_ops"]),
        ]

    def __str__(self) -> str:
        return self.session_id


class LinkType(models.TextChoices):
    RELATED = "related"
    CONTINUATION = "continuation"
    REFERENCE = "reference"
    DEPENDENCY = "dependency"


class LinkQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int) -> "LinkQuerySet":
        return self.filter(namespace_id=namespace_id)


class SessionLink(NamespacedModel):
    """A directed link between two session ids. The sessions need not exist."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    source_session_id = models.CharField(max_length=255)
    target_session_id = models.CharField(max_length=255)
    link_type = models.CharField(max_length=32, choices=LinkType, default=LinkType.RELATED)
    context = models.TextField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = LinkQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["namespace", "source_session_id", "target_session_id", "link_type"],
                name="session_link_is_kept_once",
            ),
            models.CheckConstraint(
                condition=~Q(source_session_id=F("target_session_id")), name="session_link_joins_two"
            ),
            models.CheckConstraint(condition=Q(link_type__in=LinkType.values), name="session_link_type_is_known"),
        ]
        indexes = [
            models.Index(F("namespace"), F("target_session_id"), name="session_link_target"),
            models.Index(F("namespace"), F("created_at").desc(), F("id").desc(), name="session_link_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.source_session_id} → {self.target_session_id} ({self.link_type})"
