"""Histories encrypted at rest: Fernet (AES-128-CBC with HMAC-SHA256), by keys from the environment.

The first key seals, all of them open; without keys nothing is sealed. What cannot be opened is an error, never an
answer.
"""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

Interaction = dict[str, Any]


class HistoryUnreadable(Exception):
    """A history is encrypted or damaged, and none of the keys in SESSION_ENCRYPTION_KEYS opens it."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def get_fernet() -> MultiFernet | None:
    fernets = [Fernet(key) for key in settings.SESSION_ENCRYPTION_KEYS]
    return MultiFernet(fernets) if fernets else None


def encrypt(interaction: Mapping[str, Any]) -> Interaction:
    """As it is stored: {query, answer} or {sealed}, with its timestamp when it has one."""
    said = {"query": interaction["query"], "answer": interaction["answer"]}
    when = {"timestamp": interaction["timestamp"]} if interaction.get("timestamp") else {}
    fernets = get_fernet()
    return when | (said if fernets is None else {"sealed": fernets.encrypt(json.dumps(said).encode()).decode()})


def decrypt(stored: Mapping[str, Any]) -> Interaction:
    """As callers see it: {query, answer, timestamp}. Raises HistoryUnreadable."""
    try:
        said = json.loads(get_fernet().decrypt(stored["sealed"])) if "sealed" in stored else stored
        return {"query": said["query"], "answer": said["answer"], "timestamp": stored["timestamp"]}
    except (InvalidToken, AttributeError, KeyError, TypeError, ValueError) as error:  # no key fits; no key; damaged
        raise HistoryUnreadable from error
