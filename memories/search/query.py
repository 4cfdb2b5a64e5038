"""How a match is computed: one SQL statement, put together from the arms a search needs. Knows no model.

words.py finds by words, vectors.py by meaning, fusion.py makes one score of both. Every arm starts from `scope`, the
scoped and filtered rows, so that a filter can never be applied after a limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Sql = tuple[str, Sequence[Any]]

# Candidates each arm proposes at least: twice as many changed no measured figure.
MIN_DEPTH = 50
# There is always a row, so that the size of the scope is told even when nothing was found: its id is null then.
# Behind a hit's columns: score, similarity, text rank, found by meaning, vectors near, rows of the scope, few of them.
EXTRA_COLUMN_COUNT, NEAR_COUNT_INDEX = 7, -3
# In front of these, where only one of several is shown: how many there were in all.
UNGROUPED_COUNT_INDEX = -EXTRA_COLUMN_COUNT - 1
# How many each arm proposes where what is the same filled the places: licence texts stand in thousands of files.
DEEP_SEARCH_DEPTH = 20_000


@dataclass(frozen=True)
class Scope:
    """The rows a search may see, as compiled SQL.

    memories: (id, search_vector) of those that match every filter. vectors: (id, vector) of those that match what an
    embedding row can tell; `complete` when that is every filter, so that the wide rows need not be read.
    """

    memories: Sql
    vectors: Sql
    complete: bool


@dataclass(frozen=True)
class Ranking:
    """What puts hits in order, as SQL over `hits` and `memory`; the defaults are those of a plain search.

    joins: what the rest needs besides these two. keep: which hits may stay. columns: what a hit says besides, by name.
    parameters: their values. candidates: how many each arm proposes for one place in the answer. one_of: of the hits
    for which this is the same only the best is shown.
    """

    score: str = "hits.score"
    joins: str = ""
    keep: str = "true"
    columns: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    candidates: int = 1
    one_of: str | None = None


PLAIN_RANKING = Ranking()


@dataclass(frozen=True)
class Search:
    """What to look for: words, a unit vector of 768 numbers made by `model` (None: the configured one), or both."""

    query: str | None
    vector: Sequence[float] | None
    model: str | None
    limit: int
    threshold: float | None = None
    ranking: Ranking = PLAIN_RANKING
    deep: bool = False

    @property
    def fused(self) -> bool:
        return self.query is not None and self.vector is not None

    @property
    def depth(self) -> int:
        if self.deep:
            return DEEP_SEARCH_DEPTH
        wanted = self.limit * self.ranking.candidates
        return max(wanted, MIN_DEPTH) if self.fused or self.ranking.candidates > 1 else wanted
