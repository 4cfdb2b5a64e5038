"""Embedders: what turns text into vectors. `get_embedder()` gives the configured one, `embedder_of()` one by model."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
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
    "get_embedder_for_model",
]

_embedders: dict[str, tuple[dict[str, Any], Embedder]] = {}
_lock = threading.RLock()


def get_embedder(alias: str = "default") -> Embedder:
    """The embedder of `settings.EMBEDDINGS[alias]`, made once per process and remade when its settings change.

    Raises ImproperlyConfigured for an unknown alias or wrong options.
    """
    return _get_or_create(alias, _get_configuration(alias))


def get_embedder_for_model(model: str | None) -> Embedder:
    """The embedder whose vectors bear this name: the configured one where it fits, as for None, else one the name
    itself tells how to make. Raises EmbedderUnavailable when there is none."""
    for alias, configuration in _iter_candidates(model):
        with suppress(EmbedderUnavailable, ImproperlyConfigured):
            embedder = _get_or_create(alias, configuration)
            if model is None or embedder.model == model:
                return embedder
    raise EmbedderUnavailable(f"Nothing that is configured makes vectors of the model {model}.")


def _iter_candidates(model: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ways to make it, the configured one first. A server's vendor stands before its models' names, a fingerprint
    behind the name of one whose files lie in a directory; the others are known by their names alone."""
    yield "default", _get_configuration("default")
    vendor, _, served = (model or "").partition("/")
    name, at, _ = (model or "").rpartition("@")
    for alias, configuration in settings.EMBEDDINGS.items():
        if alias == vendor:
            yield f"{alias} {model}", configuration | {"MODEL": served.removesuffix("+prefixes")}
        elif at and configuration.get("OPTIONS", {}).get("directory"):
            yield f"{alias} {model}", configuration | {"MODEL": name}
        elif configuration["MODEL"] == model:
            yield alias, configuration


def _get_or_create(key: str, configuration: dict[str, Any]) -> Embedder:
    """Made once per process, and remade when its settings change."""
    with _lock:
        if key not in _embedders or _embedders[key][0] != configuration:
            _embedders[key] = configuration, _create(configuration)
        return _embedders[key][1]


def _get_configuration(alias: str) -> dict[str, Any]:
    try:
        return settings.EMBEDDINGS[alias]
    except KeyError as error:
        raise ImproperlyConfigured(f"EMBEDDINGS has no entry {alias!r}.") from error


def _create(configuration: dict[str, Any]) -> Embedder:
    try:
        backend = import_string(configuration["BACKEND"])
        return backend(configuration["MODEL"], **configuration.get("OPTIONS", {}))
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(f'{error.name} is missing: pip install "memory-site[embedded]".') from error
    except (ImportError, KeyError, TypeError) as error:
        raise ImproperlyConfigured(f"The embedder cannot be made: {error}.") from error


def _reset_after_fork() -> None:
    """Forget in a forked process what the parent made: its threads are not here, its sockets are not ours."""
    global _lock
    _embedders.clear()
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_reset_after_fork)
