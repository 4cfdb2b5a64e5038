"""Build the search statement from the CTEs that a search needs."""

from typing import Any

from pgvector import HalfVector

from memories.embeddings.known_models import find_known_model
from memories.search import fusion, vectors, words
from memories.search.query import SEARCHED_NAMESPACE_SQL, Ranking, Scope, Search, Sql
from memories.search.scope_size import COUNTED_SIZE_CTES, KNOWN_SIZE_CTE, ScopeSize

SELECT_HITS_SQL = """
SELECT {columns}, {score} AS score,
       CASE WHEN abs(hits.similarity) > 1 THEN sign(hits.similarity) ELSE hits.similarity END AS similarity,
       hits.text_rank, hits.by_meaning, {nearest_count} AS nearest_count, size.rows, size.few
FROM size LEFT JOIN (
    hits JOIN memories_memory memory ON memory.namespace_id = {namespace} AND memory.id = hits.id
    {joins}) ON (%(threshold)s::float8 IS NULL OR hits.text_rank IS NOT NULL OR hits.similarity >= %(threshold)s)
    AND {condition}"""
ORDER_BY_SCORE_SQL = """
ORDER BY score DESC NULLS LAST, hits.similarity DESC NULLS LAST, id LIMIT %(limit)s"""
SELECT_BEST_PER_GROUP_SQL = """
SELECT * FROM (
    {hits} ORDER BY {distinct_on}, score DESC NULLS LAST, hits.similarity DESC NULLS LAST, id
) best ORDER BY score DESC NULLS LAST, similarity DESC NULLS LAST, id LIMIT %(limit)s"""


def build_statement(
    scope: Scope, search: Search, columns: str, size: ScopeSize | None, *, exact: bool = False
) -> tuple[str, dict[str, Any]]:
    """Return the search as one statement, and its parameters. `columns` are the columns wanted of `memory`.

    `size` is the known size of the scope; with None the statement counts its rows, up to the crossover, and chooses
    between the exact scan and the index. `exact` forces the scan.
    """
    memories, parameters = with_named_params(scope.memories, "m")
    query = search.words
    ctes = words.build_scope_ctes(memories, query)
    ctes.append(COUNTED_SIZE_CTES if size is None else KNOWN_SIZE_CTE)
    if search.vector is not None:
        rows, vector_parameters = with_named_params(scope.vectors, "v")
        known = find_known_model(scope.model)
        parameters |= vector_parameters | {"vector": HalfVector(search.vector)}
        parameters |= {"noise_mean": known.noise_mean, "noise_spread": known.noise_spread}
        parameters["certain_similarity"] = known.certain_similarity
        complete = scope.complete and not (query and query.restricts)
        few = True if exact else None if size is None else size.few
        ctes += vectors.build_vector_ctes(rows, complete=complete, few=few, rescan=exact)
    ctes += words.build_word_ctes(query.text, size.rows if size else None) if query else []
    ctes += fusion.build_hit_ctes(by_words=search.query is not None, by_meaning=search.vector is not None)
    parameters |= {
        "namespace": scope.namespace_id,
        "query": query and query.text,
        "names": query and query.names,
        "required": query and query.required,
        "excluded": query and list(query.excluded),
        "written": query and list(query.written),
        "depth": search.depth,
        "limit": search.limit,
        "threshold": search.threshold,
        "rows": size and size.rows,
        "few": size and size.few,
    }
    ranking = search.ranking
    parameters |= ranking.parameters
    hits = SELECT_HITS_SQL.format(
        columns=build_select_list(columns, ranking),
        nearest_count="(SELECT count(*) FROM nearest)" if search.vector is not None else "0",
        score=ranking.score,
        namespace=SEARCHED_NAMESPACE_SQL.format("memory"),
        joins=ranking.joins,
        condition=ranking.condition,
    )
    statement = (
        SELECT_BEST_PER_GROUP_SQL.format(hits=hits, distinct_on=ranking.distinct_on)
        if ranking.distinct_on
        else hits + ORDER_BY_SCORE_SQL
    )
    with_clause = "WITH " + ",\n".join(cte.strip() for cte in ctes)
    return with_clause + statement.replace("%(vector)s", "%(vector)s::halfvec"), parameters


def build_select_list(columns: str, ranking: Ranking) -> str:
    selected = ", ".join([columns, *ranking.columns.values()])
    if ranking.distinct_on is None:
        return selected
    return f"DISTINCT ON ({ranking.distinct_on}) {selected}, count(*) OVER () AS ungrouped_count"


def with_named_params(sql: Sql, prefix: str) -> tuple[str, dict[str, Any]]:
    """Return a compiled statement with named parameters, so that it can be embedded in another one."""
    text, values = sql
    names = [f"{prefix}{position}" for position in range(len(values))]
    return text % tuple(f"%({name})s" for name in names), dict(zip(names, values, strict=True))
