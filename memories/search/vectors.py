"""The arm of meaning: `near` (id, similarity), the nearest vectors of the scope, exactly or by the index."""

# Every vector of the scope with its similarity. OFFSET 0 keeps the look-up by key: for a bad estimate the planner would
# read the whole table of vectors instead.
MEASURED_CHOSEN_CTE = """
measured AS MATERIALIZED (
    SELECT chosen.id, v.similarity FROM chosen CROSS JOIN LATERAL (
        SELECT -(vector <#> %(vector)s) AS similarity FROM vectors WHERE vectors.id = chosen.id OFFSET 0
    ) v {guard}
)"""
MEASURED_ALL_CTE = "measured AS MATERIALIZED (SELECT id, -(vector <#> %(vector)s) AS similarity FROM {source} {guard})"
EXACT_SCAN_SQL = "SELECT id, similarity FROM measured ORDER BY similarity DESC LIMIT %(depth)s"
# The iterative scan gives relaxed order: twice as many are taken and sorted again. Nothing but the bare distance may
# stand in the inner ORDER BY, or the index is not used.
INDEX_SCAN_SQL = """
SELECT id, similarity FROM (
    SELECT id, -(vector <#> %(vector)s) AS similarity FROM {source} {guard}
    ORDER BY vector <#> %(vector)s LIMIT %(depth)s * 2
) relaxed ORDER BY similarity DESC LIMIT %(depth)s"""
FILTERED_VECTORS_SQL = "(SELECT id, vector FROM vectors WHERE id IN (SELECT id FROM scope)) filtered"
IF_FEW_ROWS, IF_MANY_ROWS = "WHERE (SELECT few FROM size)", "WHERE NOT (SELECT few FROM size)"


CHOSEN_CTE = "chosen AS MATERIALIZED (SELECT id FROM scope)"
# Which similarity says nothing: mean and spread over the scope; for a large one, over some hundreds of its rows.
# Ten imagined rows (mean 0.2, spread 0.1, what all-MiniLM-L6-v2 gives unrelated texts) steady the smallest scopes.
NOISE_CTE = """
noise AS MATERIALIZED (
    SELECT (sum(similarity) + 10 * 0.2::float8) / (count(*) + 10) AS mean,
           sqrt((coalesce(var_pop(similarity), 0) * count(*) + 10 * 0.01::float8) / (count(*) + 10)) AS spread
    FROM ({sample}) sample
)"""
MEASURED_SAMPLE_SQL = "(SELECT similarity FROM measured LIMIT 2000)"
VECTOR_SAMPLE_SQL = "(SELECT -(vector <#> %(vector)s) AS similarity FROM vectors {guard} LIMIT 500)"


def build_vector_ctes(rows: str, *, complete: bool, few: bool | None, again: bool = False) -> list[str]:
    """The parts of the statement: `near` and `noise`. few: scan (True), index (False), or let it choose (None).

    rows: compiled SQL of (id, vector). complete: whether those rows are the scope already; else its ids decide. again:
    a scan because the index fell short, of a scope that may be large: how to join is then the planner's business.
    """
    source = "vectors" if complete else FILTERED_VECTORS_SQL
    parts = [f"vectors (id, vector) AS NOT MATERIALIZED ({rows})"]
    if few and not complete and not again:
        parts.append(CHOSEN_CTE)
    if few is not False:
        measure = MEASURED_ALL_CTE if complete or again else MEASURED_CHOSEN_CTE
        parts.append(measure.format(source=source, guard="" if few else IF_FEW_ROWS))
    scan = [EXACT_SCAN_SQL] if few is not False else []
    index = [INDEX_SCAN_SQL.format(source=source, guard="" if few is False else IF_MANY_ROWS)] if not few else []
    samples = [MEASURED_SAMPLE_SQL] if few is not False else []
    samples += [VECTOR_SAMPLE_SQL.format(guard="" if few is False else IF_MANY_ROWS)] if not few else []
    near = " UNION ALL ".join(f"({each})" for each in scan + index)
    noise = NOISE_CTE.format(sample=" UNION ALL ".join(samples))
    return [*parts, f"near AS MATERIALIZED ({near})", noise]
