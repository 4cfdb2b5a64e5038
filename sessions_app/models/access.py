"""Namespaces, the API keys that give access to them, and the stored answers of idempotent requests."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import DEFAULT_DB_ALIAS, connection, models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from memory_site.core.db.actor import get_actor
from memory_site.core.db.ids import make_random_id
from memory_site.core.db.namespaced import NamespacedModel

#: A token is KEY_PREFIX, the id of the key, an underscore and 32 random bytes in URL-safe base64.
KEY_PREFIX = "mem_"
READ, WRITE, ADMIN = SCOPES = ("read", "write", "admin")
IDEMPOTENCY_LIFETIME = timedelta(hours=24)


class Namespace(models.Model):
    """The isolation boundary that an API key belongs to: no query crosses it."""

    # Random, so that no two databases give out the same: a namespace can move to another one and keep its id.
    id = models.BigIntegerField(primary_key=True, default=make_random_id, editable=False)
    name = models.CharField(max_length=255, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # The model whose vectors are searched; NULL until the first vector is stored.
    embedding_model = models.CharField(max_length=255, null=True, editable=False)
    forgets_outdated = models.BooleanField(
        "forget every night",
        default=False,
        db_default=False,
        help_text="Delete outdated memories every night: importance 1 or 2, used less than three times, and neither "
        "stored, changed nor found by a search for 90 days. The command forget_outdated --dry-run lists them.",
    )

    class Meta:
        ordering = ["name"]
        constraints = [models.CheckConstraint(condition=~Q(name=""), name="namespace_has_a_name")]

    def __str__(self) -> str:
        return self.name


def namespace_key() -> models.ForeignKey:
    """Return the namespace column of a table.

    Foreign keys with ON DELETE CASCADE are added by migrations. The column needs no index of its own: the composite
    indexes begin with it.
    """
    return models.ForeignKey(Namespace, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated API key of a request."""

    key_id: str
    namespace_id: int
    scopes: frozenset[str]
    embedding_model: str | None
    key_name: str
    namespace_name: str
    expires_at: datetime | None

    @property
    def public_id(self) -> str:
        """What the token begins with, up to its secret."""
        return f"{KEY_PREFIX}{self.key_id}"

    @property
    def actor(self) -> str:
        """Who changes what the request changes."""
        return f"key:{self.public_id}"

    def has_scope(self, scope: str) -> bool:
        """Return whether the key has the scope; `admin` stands for all of them."""
        return bool(self.scopes & {scope, ADMIN})


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
        """Create a key and return it with its token. Only the token's digest is stored, so it cannot be shown again."""
        key = ApiKey(
            id=secrets.token_hex(8),
            namespace=namespace,
            name=name,
            scopes=list(scopes),
            expires_at=expires_at,
            created_by=get_actor().name,
        )
        token = f"{KEY_PREFIX}{key.id}_{secrets.token_urlsafe(32)}"
        key.digest = hash_token(token)
        key.save(force_insert=True)
        return key, token

    @transaction.atomic
    def rotate(self, key: "ApiKey", grace: timedelta) -> tuple["ApiKey", str]:
        """Create a key that may do the same, for as long; the old one ends after the grace time, or when it would have.

        Raise KeyNotRotated for a key that does not work any more, or that was rotated already.
        """
        old = self.usable().select_for_update(of=("self",)).filter(pk=key.pk, replaced_by=None).first()
        if old is None:
            raise KeyNotRotated
        new, token = self.issue(old.namespace, name=old.name, scopes=tuple(old.scopes), expires_at=old.expires_at)
        ends = timezone.now() + grace
        self.filter(pk=old.pk).update(replaced_by=new, expires_at=min(ends, old.expires_at or ends))
        return new, token

    def authenticate(self, token: str) -> Caller | None:
        """Return the caller who presents this token, or None when the token is not that of a usable key."""
        key_id = token.removeprefix(KEY_PREFIX).partition("_")[0]
        if not token.startswith(KEY_PREFIX) or not key_id.isascii() or "\0" in key_id:
            return None
        key = self.usable().select_related("namespace").defer("calls").filter(pk=key_id[:16]).first()
        if key is None or not hmac.compare_digest(bytes(key.digest), hash_token(token)):
            return None
        key.record_use()
        return Caller(
            key_id=key.pk,
            namespace_id=key.namespace_id,
            scopes=frozenset(key.scopes),
            embedding_model=key.namespace.embedding_model,
            key_name=key.name,
            namespace_name=key.namespace.name,
            expires_at=key.expires_at,
        )


class KeyNotRotated(ValueError):
    """Raised for a key that is revoked, expired or replaced."""


def hash_token(token: str) -> bytes:
    """Return the SHA-256 digest of a token.

    A random 256-bit secret needs no slow hash, which would cost too much on every request.
    """
    return hashlib.sha256(token.encode()).digest()


class ApiKey(models.Model):
    """A credential that gives access to one namespace."""

    id = models.CharField(primary_key=True, max_length=16, editable=False)
    namespace = models.ForeignKey(Namespace, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=255, blank=True, help_text="What it is for.")
    digest = models.BinaryField(editable=False)
    scopes = ArrayField(models.CharField(max_length=16), default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    last_address = models.GenericIPAddressField(null=True, editable=False)
    # By day, of the last days with any: {"2026-11-30": 12}. Each process adds what it has counted every minute.
    calls = models.JSONField(default=dict, db_default={}, editable=False)
    created_by = models.CharField(max_length=200, default="", db_default="", editable=False)
    revoked_by = models.CharField(max_length=200, default="", db_default="", editable=False)
    replaced_by = models.ForeignKey(
        "self", models.SET_NULL, null=True, editable=False, related_name="+", db_index=False
    )

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
        return f"{KEY_PREFIX}{self.id}_…"

    def record_use(self) -> None:
        """Store the time of the last use, at most once a minute so that not every read becomes a write.

        A replica stores nothing.
        """
        now = timezone.now()
        is_due = self.last_used_at is None or now - self.last_used_at > timedelta(minutes=1)
        if is_due and connection.alias == DEFAULT_DB_ALIAS:
            ApiKey.objects.filter(pk=self.pk).update(last_used_at=now)

    def revoke(self) -> bool:
        """Revoke the key for good; every process notices within a second. Return False when it was revoked already."""
        return bool(
            ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=Now(), revoked_by=get_actor().name)
        )


class IdempotencyQuerySet(models.QuerySet):
    def expired(self) -> "IdempotencyQuerySet":
        return self.filter(created_at__lt=Now() - IDEMPOTENCY_LIFETIME)


class IdempotentAnswer(NamespacedModel):
    """The stored response to one Idempotency-Key of one API key. A retry within 24 hours gets the same response."""

    namespace = namespace_key()
    id = models.BigAutoField(primary_key=True)
    # Without a constraint: the key's table is not divided by namespace as this one is. An answer outlives its key by a
    # day at most.
    api_key = models.ForeignKey(ApiKey, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField()
    status = models.PositiveSmallIntegerField(null=True)
    body = models.BinaryField(null=True)
    etag = models.CharField(max_length=64, db_default="")
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    objects = IdempotencyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["namespace", "api_key", "key"], name="one_answer_per_idempotency_key")
        ]
