"""The memories of a view by relevance and recency."""

import math
import re
from bisect import bisect_left, insort
from collections.abc import Mapping

from memory_client.hybrid.nodes import Node
from memory_client.hybrid.relevance import HOUR, compute_relevance

WORD_PATTERN = re.compile(r"[^\W_]{3,}")
STOP_WORDS = frozenset(
    ("and", "are", "can", "for", "from", "has", "have", "not", "that", "the", "this", "was", "were", "will", "with")
)  # fmt: skip
#: The parts of a score: words that match, relevance, and half for each day of age.
WORDS_WEIGHT, RELEVANCE_WEIGHT, RECENCY_WEIGHT = 0.6, 0.25, 0.15
#: For so long a ranking without a query is as good as new: the shortest half-life is three hours.
RANKED_SECONDS = 30.0


class Item:
    """A memory with what is computed from it once."""

    __slots__ = ("accessed_at", "node", "tags", "words")

    def __init__(self, node: Node, accessed_at: float | None) -> None:
        self.node, self.accessed_at = node, accessed_at
        self.words = find_words(f"{node.text} {node.summary or ''} {' '.join(node.tags)}")
        self.tags = frozenset(node.tags)

    def compute_relevance(self, now: float) -> float:
        node = self.node
        return compute_relevance(node.context_type, node.base_relevance, node.changed_at, self.accessed_at, now)

    def is_alive(self, now: float) -> bool:
        return self.node.expires_at is None or self.node.expires_at > now


def find_words(text: str) -> frozenset[str]:
    return frozenset(WORD_PATTERN.findall(text.lower())) - STOP_WORDS


class Ranking:
    """Memories by what their score is without any query: relevance and recency.

    Those change slowly: they are computed for all at most once in RANKED_SECONDS, and in between for what changes.
    """

    def __init__(self) -> None:
        self.computed_at = -math.inf
        self.scores: dict[str, float] = {}
        self.relevances: dict[str, float] = {}
        self.places: list[tuple[float, str]] = []

    def refresh(self, items: Mapping[str, Item], now: float) -> None:
        """Compute all, if that was too long ago."""
        if 0 <= now - self.computed_at < RANKED_SECONDS:
            return
        self.computed_at = now
        self.scores = {memory_id: self._score(item, now) for memory_id, item in items.items()}
        self.places = sorted((score, memory_id) for memory_id, score in self.scores.items())

    def put(self, item: Item, now: float) -> None:
        memory_id = item.node.id
        self.remove(memory_id)
        score = self.scores[memory_id] = self._score(item, now)
        insort(self.places, (score, memory_id))

    def remove(self, memory_id: str) -> None:
        score = self.scores.pop(memory_id, None)
        if score is not None:
            del self.places[bisect_left(self.places, (score, memory_id))]

    def _score(self, item: Item, now: float) -> float:
        node = item.node
        relevance = self.relevances[node.id] = item.compute_relevance(now)
        recency = 0.5 ** (max(now - node.changed_at, 0.0) / (24 * HOUR))
        return RELEVANCE_WEIGHT * relevance + RECENCY_WEIGHT * recency
