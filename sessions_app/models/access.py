"""Who is speaking: namespaces, the API keys that open them, and what a key has already been answered."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

READ, WRITE, ADMIN = SCOPES = ("read", "write", "admin")
IDEMPOTENCY_LIFETIME = timedelta(hours=24)


class Namespace(models.Model):
    """The isolation boundary an API key belongs to: no query ever crosses it."""

    name = models.CharField(max_length=255, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # The one whose vectors its searches meet; none before its first vector.
    embedding_model = models.CharField(max_length=255, null=True, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.CheckConstraint(condition=~Q(name=""), name="namespace_has_a_name")]

    def __str__(self) -> str:
        return self.name


def namespace_key() -> models.ForeignKey:
    """The column every table carries. PostgreSQL follows it where a migration says so; indexes begin with it anyway."""
    return models.ForeignKey(Namespace, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from, as far as an operation has to know."""

    key_id: str
    namespace_id: int
    scopes: frozenset[str]
    embedding_model: str | None


class ApiKeyQuerySet(models.QuerySet):
    def usable(self) -> "ApiKeyQuerySet":
        """Keys that are neither revoked nor expired."""
        return self.filter(Q(revoked_at=None), Q(expires_at=None) | Q(expires_at__gt=Now()))

    def issue(
        self,
        namespace: Namespace,
        *,
        name: str = "",
        scopes: tuple[str, ...] = (READ, WRITE),
        expires_at: datetime | None = None,
    ) -> tuple["ApiKey", str]:
        """A new key and its token. Only the token's digest is kept: it can never be shown again."""
        key = ApiKey(
            id=secrets.token_hex(4), namespace=namespace, name=name, scopes=list(scopes), expires_at=expires_at
        )
        token = f"mem_{key.id}_{secrets.token_urlsafe(32)}"
        key.digest = digest(token)
        key.save(force_insert=True)
        return key, token

    def caller(self, token: str) -> Caller | None:
        """Who presents this token, or None when it opens nothing."""
        prefix, _, rest = token.partition("_")
        key_id = rest.partition("_")[0]
        if prefix != "mem" or not key_id.isascii() or "\0" in key_id:
            return None
        key = self.usable().select_related("namespace").filter(pk=key_id[:16]).first()
        if key is None or not hmac.compare_digest(bytes(key.digest), digest(token)):
            return None
        key.record_use()
        return Caller(key.pk, key.namespace_id, frozenset(key.scopes), key.namespace.embedding_model)


def digest(token: str) -> bytes:
    """SHA-256: a random 256-bit secret needs no slow hash, which on every request would be a denial of service."""
    return hashlib.sha256(token.encode()).digest()


class ApiKey(models.Model):
    """What a caller shows to speak for a namespace."""

    id = models.CharField(primary_key=True, max_length=16, editable=False)
    namespace = models.ForeignKey(Namespace, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=255, blank=True, help_text="What it is for.")
    digest = models.BinaryField(editable=False)
    scopes = ArrayField(models.CharField(max_length=16), default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=list(SCOPES)) & Q(scopes__len__gt=0), name="api_key_scopes_are_known"
            ),
        ]

    def __str__(self) -> str:
        return f"mem_{self.id}_…"

    def record_use(self) -> None:
        """Remember the last use, to the minute, so that reading does not become writing."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > timedelta(minutes=1):
            ApiKey.objects.filter(pk=self.pk).update(last_used_at=now)

    def revoke(self) -> bool:
        """Close it for good; every process notices within a second. False when it was closed already."""
        return bool(ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=Now()))


class IdempotencyQuerySet(models.QuerySet):
    def old(self) -> "IdempotencyQuerySet":
        return self.filter(created_at__lt=Now() - IDEMPOTENCY_LIFETIME)


class IdempotentAnswer(models.Model):
    """The answer a key was given for one Idempotency-Key, kept for 24 hours so that a retry is told the same."""

    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField()
    status = models.PositiveSmallIntegerField(null=True)
    body = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    objects = IdempotencyQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["api_key", "key"], name="one_answer_per_idempotency_key")]
