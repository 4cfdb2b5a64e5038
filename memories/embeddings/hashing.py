"""Vectors from hashed words and letters: no model, no network, the same on every machine."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import log

import numpy as np
from numpy.typing import NDArray

from .base import DIMENSIONS, Embedder

WORD_PATTERN = re.compile(r"\w+")
#: Length of letter groups inside a word, and their weight relative to the word itself.
NGRAM_LENGTH = 3
NGRAM_WEIGHT = 0.4
#: Letters of the longest word whose features are cached; a "word" may be 100,000 letters of base64.
MAX_CACHED_WORD_LENGTH = 32


class HashingEmbedder(Embedder):
    """Texts that share words or parts of words are close to each other; meaning plays no part.

    Signed feature hashing after Weinberger et al., "Feature Hashing for Large Scale Multitask
    Learning" (ICML 2009): a feature's hash says its place and its sign, so that collisions cancel out
    on average. A change of these rules changes the model, and needs another model name.
    """

    batch_size = 256
    batch_characters = 1_000_000

    def embed_batch(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return rows of 768 numbers, not all zero for a text that is not blank."""
        return np.stack([_embed_text(text) for text in texts])


def _embed_text(text: str) -> NDArray[np.float64]:
    row = np.zeros(DIMENSIONS)
    for word, count in Counter(WORD_PATTERN.findall(text.lower())).items():
        features = _hash_word_cached if len(word) <= MAX_CACHED_WORD_LENGTH else _hash_word
        for place, weight in features(word):
            row[place] += weight * (1 + log(count))
    if not row.any():  # no word at all ("?!"), or features that cancel out
        row[_hash_feature(text.strip())[0]] = 1.0
    return row


def _hash_word(word: str) -> tuple[tuple[int, float], ...]:
    """Return places and signed weights of the word and of its letter groups, with its ends marked."""
    framed = f"<{word}>"
    groups = (framed[start : start + NGRAM_LENGTH] for start in range(len(framed) - NGRAM_LENGTH + 1))
    return tuple(_hash_features([(framed, 1.0), *((group, NGRAM_WEIGHT) for group in groups)]))


_hash_word_cached = lru_cache(maxsize=16_384)(_hash_word)


def _hash_features(features: Iterable[tuple[str, float]]) -> Iterable[tuple[int, float]]:
    for feature, weight in features:
        place, sign = _hash_feature(feature)
        yield place, weight * sign


def _hash_feature(feature: str) -> tuple[int, int]:
    number = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "little")
    return (number >> 1) % DIMENSIONS, 1 if number & 1 else -1
