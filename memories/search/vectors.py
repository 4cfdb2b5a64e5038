"""Vector search: the CTE `nearest` (id, similarity), from an exact scan of the scope or from the HNSW index."""

# Every vector of the scope with its similarity. OFFSET 0 makes the planner look vectors up by key; with a wrong row
# estimate it would read the whole table of vectors.
SCOPE_IDS_SIMILARITIES_CTE = """
similarities AS MATERIALIZED (
    SELECT scope_ids.id, v.similarity FROM scope_ids CROSS JOIN LATERAL (
        SELECT -(vector <#> %(vector)s) AS similarity FROM vectors WHERE vectors.id = scope_ids.id OFFSET 0
    ) v {guard}
)"""
ALL_SIMILARITIES_CTE = (
    "similarities AS MATERIALIZED (SELECT id, -(vector <#> %(vector)s) AS similarity FROM {source} {guard})"
)
EXACT_SCAN_SQL = "SELECT id, similarity FROM similarities ORDER BY similarity DESC LIMIT %(depth)s"
# pgvector's iterative scan returns rows in relaxed order, so twice as many are read and sorted again. The inner
# ORDER BY must be the bare distance, or the planner does not use the index.
INDEX_SCAN_SQL = """
SELECT id, similarity FROM (
    SELECT id, -(vector <#> %(vector)s) AS similarity FROM {source} {guard}
    ORDER BY vector <#> %(vector)s LIMIT %(depth)s * 2
) relaxed ORDER BY similarity DESC LIMIT %(depth)s"""
FILTERED_VECTORS_SQL = "(SELECT id, vector FROM vectors WHERE id IN (SELECT id FROM scope)) filtered"
IF_FEW_ROWS, IF_MANY_ROWS = "WHERE (SELECT few FROM size)", "WHERE NOT (SELECT few FROM size)"

SCOPE_IDS_CTE = "scope_ids AS MATERIALIZED (SELECT id FROM scope)"
# The similarity of unrelated texts: mean and standard deviation over the scope, or over a few hundred rows of a large
# one. Ten pseudo-rows with the model's own figures stabilise the smallest scopes.
NOISE_CTE = """
noise AS MATERIALIZED (
    SELECT (sum(similarity) + 10 * %(noise_mean)s::float8) / (count(*) + 10) AS mean,
           sqrt((coalesce(var_pop(similarity), 0) * count(*) + 10 * %(noise_spread)s::float8 ^ 2) / (count(*) + 10))
               AS spread
    FROM ({sample}) sample
)"""
SIMILARITY_SAMPLE_SQL = "(SELECT similarity FROM similarities LIMIT 2000)"
VECTOR_SAMPLE_SQL = "(SELECT -(vector <#> %(vector)s) AS similarity FROM vectors {guard} LIMIT 500)"


def build_vector_ctes(rows: str, *, complete: bool, few: bool | None, rescan: bool = False) -> list[str]:
    """Return the CTEs of vector search, which end with `nearest` and `noise`.

    rows: compiled SQL of (id, vector). complete: whether those rows are the scope; otherwise they are joined with its
    ids. few: scan (True), use the index (False), or let the statement choose (None). rescan: the index returned too few
    rows of a scope that may be large, so the planner chooses how to join.
    """
    source = "vectors" if complete else FILTERED_VECTORS_SQL
    parts = [f"vectors (id, vector) AS NOT MATERIALIZED ({rows})"]
    if few and not complete and not rescan:
        parts.append(SCOPE_IDS_CTE)
    if few is not False:
        measure = ALL_SIMILARITIES_CTE if complete or rescan else SCOPE_IDS_SIMILARITIES_CTE
        parts.append(measure.format(source=source, guard="" if few else IF_FEW_ROWS))
    scan = [EXACT_SCAN_SQL] if few is not False else []
    index = [INDEX_SCAN_SQL.format(source=source, guard="" if few is False else IF_MANY_ROWS)] if not few else []
    samples = [SIMILARITY_SAMPLE_SQL] if few is not False else []
    samples += [VECTOR_SAMPLE_SQL.format(guard="" if few is False else IF_MANY_ROWS)] if not few else []
    nearest = " UNION ALL ".join(f"({each})" for each in scan + index)
    noise = NOISE_CTE.format(sample=" UNION ALL ".join(samples))
    return [*parts, f"nearest AS MATERIALIZED ({nearest})", noise]
