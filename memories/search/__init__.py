"""How a match is computed: one SQL statement, put together from the arms a search needs. Knows no model.

words.py finds by words, vectors.py by meaning, fusion.py makes one score of both. Every arm starts from `scope`, the
scoped and filtered rows, so that a filter can never be applied after a limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgvector import HalfVector

from memories.search import fusion, vectors, words
from memories.search.size import SIZE_KNOWN, SIZE_UNKNOWN, Size

Sql = tuple[str, Sequence[Any]]

# Candidates each arm proposes at least: twice as many changed no measured figure.
LEAST_DEPTH = 50
# There is always a row, so that the size of the scope is told even when nothing was found: its id is null then.
# Behind a hit's columns: score, similarity, text rank, found by meaning, vectors near, rows of the scope, few of them.
EXTRA_COLUMNS, NEAR = 7, -3
# In front of these, where only one of several is shown: how many there were in all.
ALIKE = -EXTRA_COLUMNS - 1
# How many each arm proposes where what is the same filled the places: licence texts stand in thousands of files.
DEEP = 20_000


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


PLAIN = Ranking()


@dataclass(frozen=True)
class Search:
    """What to look for: words, a unit vector of 768 numbers made by `model` (None: the configured one), or both."""

    query: str | None
    vector: Sequence[float] | None
    model: str | None
    limit: int
    threshold: float | None = None
    ranking: Ranking = PLAIN
    deep: bool = False

    @property
    def fused(self) -> bool:
        return self.query is not None and self.vector is not None

    @property
    def depth(self) -> int:
        if self.deep:
            return DEEP
        wanted = self.limit * self.ranking.candidates
        return max(wanted, LEAST_DEPTH) if self.fused or self.ranking.candidates > 1 else wanted


ANSWER = """
SELECT {columns}, {score} AS score,
       CASE WHEN abs(hits.similarity) > 1 THEN sign(hits.similarity) ELSE hits.similarity END AS similarity,
       hits.text_rank, hits.by_meaning, {near} AS near, size.rows, size.few
FROM size LEFT JOIN (
    hits JOIN memories_memory memory USING (id) {joins}
) ON (%(threshold)s::float8 IS NULL OR hits.text_rank IS NOT NULL OR hits.similarity >= %(threshold)s) AND {keep}"""
BEST = """
ORDER BY score DESC NULLS LAST, hits.similarity DESC NULLS LAST, id LIMIT %(limit)s"""
BEST_OF_EACH = """
SELECT * FROM (
    {answer} ORDER BY {one_of}, score DESC NULLS LAST, hits.similarity DESC NULLS LAST, id
) best ORDER BY score DESC NULLS LAST, similarity DESC NULLS LAST, id LIMIT %(limit)s"""


def statement(
    scope: Scope, search: Search, columns: str, size: Size | None, *, exact: bool = False
) -> tuple[str, dict[str, Any]]:
    """The whole search as one statement, and its parameters. `columns` are those wanted of `memory`.

    `size` is what is known of the scope; None lets the statement count, as far as that matters, and choose between the
    exact scan and the index by itself. `exact` insists on a scan, however large the scope.
    """
    memories, parameters = named(scope.memories, "m")
    required = words.required(search.query)
    parts = [words.SCOPE.format(rows=memories, required=words.REQUIRED if required else "")]
    parts.append(SIZE_UNKNOWN if size is None else SIZE_KNOWN)
    if search.vector is not None:
        rows, more = named(scope.vectors, "v")
        parameters |= more | {"vector": HalfVector(search.vector)}
        complete = scope.complete and not required
        parts += vectors.arm(rows, complete=complete, few=True if exact else size and size.few, again=exact)
    parts += words.ARM if search.query else []
    parts += fusion.hits(by_words=search.query is not None, by_meaning=search.vector is not None)
    parameters |= {
        "query": search.query,
        "required": required,
        "depth": search.depth,
        "limit": search.limit,
        "threshold": search.threshold,
        "rows": size and size.rows,
        "few": size and size.few,
    }
    ranking = search.ranking
    parameters |= ranking.parameters
    answer = ANSWER.format(
        columns=shown(columns, ranking),
        near="(SELECT count(*) FROM near)" if search.vector is not None else "0",
        score=ranking.score,
        joins=ranking.joins,
        keep=ranking.keep,
    )
    best = BEST_OF_EACH.format(answer=answer, one_of=ranking.one_of) if ranking.one_of else answer + BEST
    return f"WITH {', '.join(parts)}" + best.replace("%(vector)s", "%(vector)s::halfvec"), parameters


def shown(columns: str, ranking: Ranking) -> str:
    every = ", ".join([columns, *ranking.columns.values()])
    return f"DISTINCT ON ({ranking.one_of}) {every}, count(*) OVER () AS alike" if ranking.one_of else every


def named(sql: Sql, prefix: str) -> tuple[str, dict[str, Any]]:
    """A compiled statement with named parameters, so that it can stand inside another one."""
    text, values = sql
    names = [f"{prefix}{position}" for position in range(len(values))]
    return text % tuple(f"%({name})s" for name in names), dict(zip(names, values, strict=True))
