"""Which keys the stored histories need, and their encryption with the first one."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import transaction

from sessions_app.encryption import Interaction, decrypt, encrypt
from sessions_app.models import SessionMemory

#: Characters of a key's name: enough to tell a few keys apart, and nothing that helps to guess one.
KEY_NAME_LENGTH = 8
FETCH_SIZE = 200


class KeyRole(StrEnum):
    """What encrypted an interaction."""

    FIRST = "first"
    EARLIER = "earlier"
    MISSING = "missing"
    PLAIN = "plain"


class KeyUse(NamedTuple):
    """A key by name, empty if it is missing or there is none, and its role."""

    role: KeyRole
    key: str = ""


def name_key(key: str) -> str:
    """Return the beginning of the key's SHA-256, by which operators recognise it."""
    return hashlib.sha256(key.encode()).hexdigest()[:KEY_NAME_LENGTH]


def name_first_key() -> str:
    """Return the name of the key that this process encrypts with; empty if it encrypts nothing."""
    return name_key(settings.SESSION_ENCRYPTION_KEYS[0]) if settings.SESSION_ENCRYPTION_KEYS else ""


def find_key(stored: Mapping[str, Any]) -> KeyUse:
    """Return which of the configured keys encrypted an interaction."""
    if "sealed" not in stored:
        return KeyUse(KeyRole.PLAIN)
    for position, key in enumerate(settings.SESSION_ENCRYPTION_KEYS):
        if decrypts(key, stored["sealed"]):
            return KeyUse(KeyRole.EARLIER if position else KeyRole.FIRST, name_key(key))
    return KeyUse(KeyRole.MISSING)


def decrypts(key: str, token: Any) -> bool:
    try:
        return bool(Fernet(key).decrypt(token))
    except (InvalidToken, TypeError):
        return False


def count_sessions_by_key(histories: Iterable[Iterable[Mapping[str, Any]]]) -> Counter[KeyUse]:
    """Count the sessions that have interactions of each key; one may count for several."""
    counts: Counter[KeyUse] = Counter()
    for history in histories:
        counts.update({find_key(stored) for stored in history})
    return counts


def iterate_histories(namespace_id: int | None) -> Iterator[list[Interaction]]:
    sessions = select_sessions(namespace_id).order_by("pk").values_list("history", flat=True)
    return sessions.iterator(chunk_size=FETCH_SIZE)


def select_sessions(namespace_id: int | None) -> Any:
    rows = SessionMemory.objects.all()
    return rows if namespace_id is None else rows.filter(namespace_id=namespace_id)


def reencrypt_session(namespace_id: int, pk: UUID, *, plain: bool, dry_run: bool) -> str | None:
    """Encrypt a session with the first key, or decrypt it. Return its name if anything changed, or would.

    Its row is locked meanwhile, so that an addition is not lost. Raises HistoryUnreadable, and leaves it as it is.
    """
    rows = SessionMemory.objects.filter(namespace_id=namespace_id, pk=pk)
    with transaction.atomic():
        session = rows.select_for_update().first()
        if session is None:  # cleared meanwhile
            return None
        history = [reencrypt_interaction(stored, plain) for stored in session.history]
        if history == session.history:
            return None
        if not dry_run:
            rows.update(history=history)  # updated_at stays: this is not a renewal
        return session.session_id


def reencrypt_interaction(stored: Mapping[str, Any], plain: bool) -> Interaction:
    """Return the interaction in plain text, or encrypted with the first key. Raise HistoryUnreadable."""
    if plain:
        return decrypt(stored)
    return dict(stored) if find_key(stored).role is KeyRole.FIRST else encrypt(decrypt(stored))
