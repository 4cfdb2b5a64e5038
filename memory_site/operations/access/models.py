"""The console's sessions, what happened at its door, and which permissions the roles were given."""

from typing import ClassVar

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models
from django.db.models.functions import Now

MAX_AGENT_LENGTH = 255


class SeededGrant(models.Model):
    """A permission that a role was given once, whether its group still has it or not."""

    role = models.CharField(max_length=150)
    permission = models.CharField(max_length=200, help_text="App and codename, as `memories.view_memory`.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["role", "permission"], name="one_grant_of_a_permission")]

    def __str__(self) -> str:
        return f"{self.role}: {self.permission}"


class ConsoleSession(AbstractBaseSession):
    """A browser's session. `user` is NULL until a login."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="console_sessions")
    address = models.GenericIPAddressField(null=True, help_text="From which the login came.")
    agent = models.CharField(max_length=MAX_AGENT_LENGTH, default="", help_text="What the browser calls itself.")
    created_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())

    objects: ClassVar = BaseSessionManager()

    class Meta:
        verbose_name = "console session"

    def __str__(self) -> str:
        return f"session of {self.user or 'no account'}"

    @classmethod
    def get_session_store_class(cls) -> type:
        from memory_site.operations.access.session_store import SessionStore  # noqa: PLC0415  (it imports this module)

        return SessionStore


class EventKind(models.TextChoices):
    LOGIN = "login", "logged in"
    LOGOUT = "logout", "logged out"
    FAILED_LOGIN = "failed login", "login failed"
    LOCKED_OUT = "locked out", "locked out"
    UNLOCKED = "unlocked", "unlocked"
    WRONG_CODE = "wrong code", "wrong one-time code"
    SECOND_FACTOR_SET_UP = "second factor set up", "second factor set up"
    SECOND_FACTOR_RESET = "second factor reset", "second factor reset"
    RECOVERY_CODE_USED = "recovery code used", "recovery code used"
    SESSION_ENDED = "session ended", "session ended"


class AccessEvent(models.Model):
    """What happened at the console's door. Rows are only added."""

    at = models.DateTimeField(db_default=Now(), db_index=True)
    kind = models.CharField(max_length=32, help_text="One of `EventKind`.")
    actor = models.CharField(max_length=200, help_text="As in the history of memories: `console:admin`.")
    subject = models.CharField(max_length=200, default="", help_text="The account or session that it was about.")
    address = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=128, default="")

    class Meta:
        verbose_name = "audit line"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
