"""Embedders: what turns text into vectors. `get_embedder()` gives the configured one."""

import os
import threading
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .base import DIMENSIONS, BatchFailed, Embedder, EmbedderUnavailable, EmbeddingError, Outcome, TextRefused, Vector

__all__ = [
    "DIMENSIONS",
    "BatchFailed",
    "Embedder",
    "EmbedderUnavailable",
    "EmbeddingError",
    "Outcome",
    "TextRefused",
    "Vector",
    "get_embedder",
]

_embedders: dict[str, tuple[dict[str, Any], Embedder]] = {}
_lock = threading.RLock()


def get_embedder(alias: str = "default") -> Embedder:
    """The embedder of `settings.EMBEDDINGS[alias]`, made once per process and remade when its settings change.

    Raises ImproperlyConfigured for an unknown alias or wrong options.
    """
    with _lock:
        configuration = _configuration(alias)
        if alias not in _embedders or _embedders[alias][0] != configuration:
            _embedders[alias] = configuration, _make(configuration)
        return _embedders[alias][1]


def _configuration(alias: str) -> dict[str, Any]:
    try:
        return settings.EMBEDDINGS[alias]
    except KeyError as error:
        raise ImproperlyConfigured(f"EMBEDDINGS has no entry {alias!r}.") from error


def _make(configuration: dict[str, Any]) -> Embedder:
    try:
        backend = import_string(configuration["BACKEND"])
        return backend(configuration["MODEL"], **configuration.get("OPTIONS", {}))
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(f'{error.name} is missing: pip install "memory-site[embedded]".') from error
    except (ImportError, KeyError, TypeError) as error:
        raise ImproperlyConfigured(f"The embedder cannot be made: {error}.") from error


def _start_afresh() -> None:
    """Forget in a forked process what the parent made: its threads are not here, its sockets are not ours."""
    global _lock
    _embedders.clear()
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_start_afresh)
