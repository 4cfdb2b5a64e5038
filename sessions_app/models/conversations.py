"""Conversation and its Messages, which no clean-up removes."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from memory_site.core.db.fields import duration_field
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedForeignKey, NamespacedModel
from sessions_app.models.access import namespace_key


class Role(models.TextChoices):
    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class ConversationQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int) -> "ConversationQuerySet":
        return self.filter(namespace_id=namespace_id)


class Conversation(NamespacedModel):
    """A sequence of messages with a start and an end."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session_id = models.CharField(max_length=255, null=True, blank=True)
    user_id = models.CharField("user", max_length=255, null=True, blank=True)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)
    duration_seconds = duration_field("started_at", "ended_at")
    message_count = models.PositiveIntegerField(db_default=0, editable=False)
    topics = ArrayField(models.CharField(max_length=128), default=list, blank=True)
    summary = models.TextField(null=True, blank=True)
    importance = models.FloatField(default=0.5)
    metadata = models.JSONField(default=dict, blank=True)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(ended_at__gte=F("started_at")), name="conversation_ends_after_its_start"
            ),
            models.CheckConstraint(condition=Q(importance__range=(0, 1)), name="conversation_importance_is_0_to_1"),
        ]
        indexes = [
            models.Index(F("namespace"), F("started_at").desc(), F("id").desc(), name="conversation_newest"),
            models.Index(F("started_at").desc(), F("id").desc(), name="conversation_newest_of_all"),
            models.Index(
                F("namespace"),
                F("session_id"),
                F("started_at").desc(),
                F("id").desc(),
                name="conversation_by_session",
                condition=Q(session_id__isnull=False),
            ),
            models.Index(
                F("namespace"),
                F("user_id"),
                F("started_at").desc(),
                F("id").desc(),
                name="conversation_by_user",
                condition=Q(user_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.summary or f"conversation of {self.started_at:%Y-%m-%d %H:%M}"


class MessageQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int) -> "MessageQuerySet":
        return self.filter(namespace_id=namespace_id)


class Message(NamespacedModel):
    """One message of a conversation. `memory_id` is the memory made of it; NULL when there is none, or no longer."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = NamespacedForeignKey(
        Conversation, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="messages"
    )
    role = models.CharField(max_length=16, choices=Role)
    agent_id = models.CharField("agent", max_length=255, null=True, blank=True)
    content = models.TextField()
    metadata = models.JSONField(default=dict, blank=True)
    memory_id = models.UUIDField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now())

    objects = MessageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(role__in=Role.values), name="message_role_is_known"),
            models.CheckConstraint(condition=Q(content__regex=r"\S"), name="message_content_is_not_blank"),
        ]
        indexes = [
            models.Index(
                F("namespace"), F("conversation"), F("created_at").desc(), F("id").desc(), name="message_newest"
            ),
            models.Index(F("namespace"), F("created_at").desc(), F("id").desc(), name="message_newest_of_namespace"),
            models.Index(
                F("namespace"),
                F("agent_id"),
                F("created_at").desc(),
                F("id").desc(),
                name="message_by_agent",
                condition=Q(agent_id__isnull=False),
            ),
            # For the database trigger that sets memory_id to NULL when the memory is deleted.
            models.Index(F("namespace"), F("memory_id"), name="message_memory", condition=Q(memory_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.content if len(self.content) <= 80 else f"{self.content[:79]}…"
