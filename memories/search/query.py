"""The parameters of a search statement. Imports no Django model.

words.py writes the CTEs of text search, vectors.py those of vector search, fusion.py those that score their candidates.
All start from `scope`, the filtered rows, so that no filter is ever applied after a limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memories.search.query_words import QueryWords, parse_query

Sql = tuple[str, Sequence[Any]]

# Candidates that text search and vector search propose each, at least. Twice as many changed no measured figure.
MIN_DEPTH = 50
#: SQL for the namespace of a row of this alias: the parameter, or where all namespaces are searched (null) its own.
SEARCHED_NAMESPACE_SQL = "coalesce(%(namespace)s::bigint, {0}.namespace_id)"
# The statement returns at least one row, with a null id if nothing was found: it always returns the scope's size.
# The last columns of a row: score, similarity, text_rank, by_meaning, nearest_count, rows (of the scope), few.
EXTRA_COLUMN_COUNT, NEAREST_COUNT_INDEX = 7, -3
# In front of them, with `Ranking.distinct_on`: `ungrouped_count`, the hits before duplicates were removed.
UNGROUPED_COUNT_INDEX = -EXTRA_COLUMN_COUNT - 1
# Candidates of each search when duplicates filled the answer: the text of a licence occurs in thousands of files.
DEEP_SEARCH_DEPTH = 20_000


@dataclass(frozen=True)
class Scope:
    """The rows that a search may see, as compiled SQL; `model` is the one whose vectors they are.

    namespace_id: None searches all. memories: (id, search_vector, content) of the memories that match every filter.
    vectors: (id, vector) of the embeddings that match the filters on columns which the embedding table repeats;
    `complete` when those are all filters, so that the wide memory rows need not be read.
    """

    namespace_id: int | None
    memories: Sql
    vectors: Sql
    complete: bool
    model: str


@dataclass(frozen=True)
class Ranking:
    """How hits are scored, as SQL over `hits` and `memory`; the defaults are those of a plain search.

    joins: further tables, for the other expressions. condition: which hits to return. columns: extra columns of a hit,
    by name. parameters: values of the expressions' placeholders. candidates: how many each search proposes per hit
    wanted. distinct_on: of hits for which this is equal, only the best is returned.
    """

    score: str = "hits.score"
    joins: str = ""
    condition: str = "true"
    columns: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    candidates: int = 1
    distinct_on: str | None = None


PLAIN_RANKING = Ranking()


@dataclass(frozen=True)
class Search:
    """What to find: words, a unit vector of 768 numbers by `model` (None: the configured one), or both.

    `threshold` is the least cosine similarity of a hit that its words alone did not find. `deep` proposes
    DEEP_SEARCH_DEPTH candidates. `operators`: the query may require phrases and exclude words.
    """

    query: str | None
    vector: list[float] | NDArray[np.float32] | None
    model: str | None
    limit: int
    threshold: float | None = None
    ranking: Ranking = PLAIN_RANKING
    deep: bool = False
    operators: bool = False

    @cached_property
    def words(self) -> QueryWords | None:
        return None if self.query is None else parse_query(self.query, operators=self.operators)

    @property
    def is_hybrid(self) -> bool:
        return self.query is not None and self.vector is not None

    @property
    def depth(self) -> int:
        """How many candidates text search and vector search propose each."""
        if self.deep:
            return DEEP_SEARCH_DEPTH
        wanted = self.limit * self.ranking.candidates
        return max(wanted, MIN_DEPTH) if self.is_hybrid or self.ranking.candidates > 1 else wanted
