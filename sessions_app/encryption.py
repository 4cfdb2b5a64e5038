"""Encryption of histories at rest: Fernet (AES-128-CBC with HMAC-SHA256), with keys from the environment.

The first key encrypts, every key decrypts; without keys nothing is encrypted. What cannot be decrypted raises an error
and is never returned.
"""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

Interaction = dict[str, Any]


class HistoryUnreadable(Exception):
    """A history cannot be read: it is damaged, or none of the keys in SESSION_ENCRYPTION_KEYS decrypts it."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def get_fernet() -> MultiFernet | None:
    fernets = [Fernet(key) for key in settings.SESSION_ENCRYPTION_KEYS]
    return MultiFernet(fernets) if fernets else None


def encrypt(interaction: Mapping[str, Any]) -> Interaction:
    """Return the stored form: {query, answer} or {sealed}, with the timestamp when there is one."""
    text = {"query": interaction["query"], "answer": interaction["answer"]}
    timestamp = {"timestamp": interaction["timestamp"]} if interaction.get("timestamp") else {}
    fernet = get_fernet()
    return timestamp | (text if fernet is None else {"sealed": fernet.encrypt(json.dumps(text).encode()).decode()})


def decrypt(stored: Mapping[str, Any]) -> Interaction:
    """Return {query, answer, timestamp}. Raise HistoryUnreadable."""
    try:
        text = json.loads(decrypt_token(stored["sealed"])) if "sealed" in stored else stored
        return {"query": text["query"], "answer": text["answer"], "timestamp": stored["timestamp"]}
    except (InvalidToken, KeyError, TypeError, ValueError) as error:  # no key decrypts it, or it is damaged
        raise HistoryUnreadable from error


def decrypt_token(token: str) -> bytes:
    """Raise InvalidToken when no key decrypts it, or there is no key at all."""
    fernet = get_fernet()
    if fernet is None:
        raise InvalidToken
    return fernet.decrypt(token)
