"""The memories of a view by their words and entities, and how a query finds them."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import NamedTuple

from memory_client.hybrid.ranking import WORDS_WEIGHT, Item, Ranking, find_words
from memory_client.hybrid.relevance import HOUR

#: Fewer hits than this by half of a query's words, and those by any word count too.
FEW_HITS = 5
#: More than this many results of which the first is clearly the best: those far below it are left out.
CLEAR_AFTER, CLEAR_FACTOR, CLEAR_SCORE, CLEAR_SHARE = 3, 2.0, 0.5, 0.6


class Request(NamedTuple):
    """What is looked for. Tags are in lower case."""

    query: str
    context_types: frozenset[str] | None
    max_age_hours: float | None
    min_relevance: float
    max_results: int
    required_tags: frozenset[str]
    excluded_tags: frozenset[str]


class Index:
    """What is in memory of a scope. Its methods are called by one thread at a time."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.by_word: dict[str, set[str]] = {}
        self.by_entity: dict[str, str] = {}
        self.ranking = Ranking()

    def add(self, item: Item, now: float) -> None:
        memory_id = item.node.id
        self.items[memory_id] = item
        for word in item.words:
            self.by_word.setdefault(word, set()).add(memory_id)
        if item.node.entity:
            self.by_entity[item.node.entity.id.casefold()] = memory_id
        if self.ranking.computed_at > 0:
            self.ranking.put(item, now)

    def remove(self, memory_id: str) -> None:
        item = self.items.pop(memory_id, None)
        if item is None:
            return
        self.ranking.remove(memory_id)
        for word in item.words:
            self.by_word[word].discard(memory_id)
            if not self.by_word[word]:
                del self.by_word[word]
        if item.node.entity:
            self.by_entity.pop(item.node.entity.id.casefold(), None)

    def note_access(self, memory_id: str, now: float) -> None:
        item = self.items[memory_id]
        item.accessed_at = now
        self.ranking.put(item, now)

    def find(self, request: Request, now: float) -> list[tuple[float, str]]:
        """Return scores and ids of what matches best, best first; for the id of an entity that one alone."""
        self.ranking.refresh(self.items, now)
        if entity := self.by_entity.get(request.query.strip().casefold()):
            return [(1.0, entity)]
        if not request.query.strip():
            return self._take_best(reversed(self.ranking.places), request, now)
        scores = self._score(find_words(request.query))
        mean = sum(scores.values()) / max(len(scores), 1)
        places = ((scores[memory_id], memory_id) for memory_id in sort_by_score(scores))
        return _leave_out_rest(self._take_best(places, request, now), mean)

    def _take_best(self, places: Iterable[tuple[float, str]], request: Request, now: float) -> list[tuple[float, str]]:
        passing = (place for place in places if self._passes(place[1], request, now))
        return list(islice(passing, max(request.max_results, 0)))

    def _score(self, words: frozenset[str]) -> dict[str, float]:
        """Return the scores of the memories with at least half of a query's words, or with any when these are few.

        The rarer a word, the more it weighs; one that occurs nowhere as much as one that occurs once, because it was
        asked for and nothing has it.
        """
        size, scores, base = len(self.items), dict[str, float](), self.ranking.scores
        found = {word: self.by_word.get(word, ()) for word in words}
        weights = {word: math.log(1 + size / max(len(ids), 1)) for word, ids in found.items()}
        total = sum(weights.values()) or 1.0
        for word, ids in found.items():
            weight = WORDS_WEIGHT * weights[word] / total
            for memory_id in ids:
                scores[memory_id] = (scores[memory_id] if memory_id in scores else base[memory_id]) + weight
        needed = len(words) // 2
        if needed <= 1:  # which each of them has
            return scores
        counts = Counter(chain.from_iterable(found.values()))
        many = {memory_id: score for memory_id, score in scores.items() if counts[memory_id] >= needed}
        return many if len(many) >= FEW_HITS else scores

    def _passes(self, memory_id: str, request: Request, now: float) -> bool:
        if self.ranking.relevances[memory_id] < request.min_relevance:
            return False
        item = self.items[memory_id]
        node = item.node
        return (
            item.is_alive(now)
            and (request.context_types is None or node.context_type in request.context_types)
            and (request.max_age_hours is None or now - node.changed_at <= request.max_age_hours * HOUR)
            and request.required_tags <= item.tags
            and not (request.excluded_tags and request.excluded_tags & item.tags)
        )


def sort_by_score(scores: Mapping[str, float]) -> list[str]:
    """Return the ids, best first, and of equal ones the newest. Twice as fast as to sort pairs."""
    ids = sorted(scores, reverse=True)
    ids.sort(key=scores.__getitem__, reverse=True)
    return ids


def _leave_out_rest(found: list[tuple[float, str]], mean: float) -> list[tuple[float, str]]:
    """Leave out what is far below the first, if that is clearly better than what was found on average."""
    if len(found) <= CLEAR_AFTER or found[0][0] <= max(CLEAR_FACTOR * mean, CLEAR_SCORE):
        return found
    return [each for each in found if each[0] >= CLEAR_SHARE * found[0][0]]
