"""Embedders turn text into vectors: `get_embedder()` returns the configured one, `get_embedder_for_model()` one by the
name of its model."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from memory_site.core.caches import Cache

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

MAX_EMBEDDERS = 100
#: With the configuration that each was made from. A forked process makes its own: it has neither the parent's threads
#: nor its sockets.
_embedders: Cache[str, tuple[dict[str, Any], Embedder]] = Cache(MAX_EMBEDDERS)


def get_embedder(alias: str = "default") -> Embedder:
    """Return the embedder of `settings.EMBEDDINGS[alias]`, one per process, created again when its settings change.

    Raises ImproperlyConfigured for an unknown alias or wrong options.
    """
    return _get_or_create(alias, _get_configuration(alias))


def get_embedder_for_model(model: str | None) -> Embedder:
    """Return the embedder that makes vectors of this model; None stands for the configured one.

    It is the configured embedder if its model is that, else one whose configuration follows from the model's name.
    Raises EmbedderUnavailable if there is none.
    """
    for alias, configuration in _iter_candidates(model):
        with suppress(EmbedderUnavailable, ImproperlyConfigured):
            embedder = _get_or_create(alias, configuration)
            if model is None or embedder.model == model:
                return embedder
    raise EmbedderUnavailable(f"No configured embedder makes vectors of the model {model}.")


def _iter_candidates(model: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield alias and configuration of what may make the model, the configured embedder first.

    Names of models: `vendor/name` for an embedding server, `name@fingerprint` for files in a directory, else `name`.
    """
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
    """Return the process's embedder of this key, created again after its configuration changed."""
    return _embedders.get_or_create(
        key, lambda: (configuration, _create(configuration)), lambda known: known[0] == configuration
    )[1]


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
