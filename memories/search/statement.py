"""The search statement, put together from the parts that a search needs."""

from typing import Any

from pgvector import HalfVector

from memories.search import fusion, vectors, words
from memories.search.query import Ranking, Scope, Search, Sql
from memories.search.scope_size import COUNTED_SIZE_CTES, KNOWN_SIZE_CTE, ScopeSize

SELECT_HITS_SQL = """
SELECT {columns}, {score} AS score,
       CASE WHEN abs(hits.similarity) > 1 THEN sign(hits.similarity) ELSE hits.similarity END AS similarity,
       hits.text_rank, hits.by_meaning, {near} AS near, size.rows, size.few
FROM size LEFT JOIN (
    hits JOIN memories_memory memory USING (id) {joins}
) ON (%(threshold)s::float8 IS NULL OR hits.text_rank IS NOT NULL OR hits.similarity >= %(threshold)s) AND {keep}"""
ORDER_BY_SCORE_SQL = """
ORDER BY score DESC NULLS LAST, hits.similarity DESC NULLS LAST, id LIMIT %(limit)s"""
SELECT_BEST_PER_GROUP_SQL = """
SELECT * FROM (
    {answer} ORDER BY {one_of}, score DESC NULLS LAST, hits.similarity DESC NULLS LAST, id
) best ORDER BY score DESC NULLS LAST, similarity DESC NULLS LAST, id LIMIT %(limit)s"""


def build_statement(
    scope: Scope, search: Search, columns: str, size: ScopeSize | None, *, exact: bool = False
) -> tuple[str, dict[str, Any]]:
    """The whole search as one statement, and its parameters. `columns` are those wanted of `memory`.

    `size` is what is known of the scope; None lets the statement count, as far as that matters, and choose between the
    exact scan and the index by itself. `exact` insists on a scan, however large the scope.
    """
    memories, parameters = with_named_params(scope.memories, "m")
    required = words.extract_required(search.query)
    parts = [words.SCOPE_CTE.format(rows=memories, required=words.REQUIRED_FILTER_SQL if required else "")]
    parts.append(COUNTED_SIZE_CTES if size is None else KNOWN_SIZE_CTE)
    if search.vector is not None:
        rows, more = with_named_params(scope.vectors, "v")
        parameters |= more | {"vector": HalfVector(search.vector)}
        complete = scope.complete and not required
        parts += vectors.build_vector_ctes(
            rows, complete=complete, few=True if exact else size and size.few, again=exact
        )
    parts += words.TEXT_CTES if search.query else []
    parts += fusion.build_hit_ctes(by_words=search.query is not None, by_meaning=search.vector is not None)
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
    answer = SELECT_HITS_SQL.format(
        columns=build_select_list(columns, ranking),
        near="(SELECT count(*) FROM near)" if search.vector is not None else "0",
        score=ranking.score,
        joins=ranking.joins,
        keep=ranking.keep,
    )
    best = (
        SELECT_BEST_PER_GROUP_SQL.format(answer=answer, one_of=ranking.one_of)
        if ranking.one_of
        else answer + ORDER_BY_SCORE_SQL
    )
    return f"WITH {', '.join(parts)}" + best.replace("%(vector)s", "%(vector)s::halfvec"), parameters


def build_select_list(columns: str, ranking: Ranking) -> str:
    every = ", ".join([columns, *ranking.columns.values()])
    return f"DISTINCT ON ({ranking.one_of}) {every}, count(*) OVER () AS alike" if ranking.one_of else every


def with_named_params(sql: Sql, prefix: str) -> tuple[str, dict[str, Any]]:
    """A compiled statement with named parameters, so that it can stand inside another one."""
    text, values = sql
    names = [f"{prefix}{position}" for position in range(len(values))]
    return text % tuple(f"%({name})s" for name in names), dict(zip(names, values, strict=True))
