"""The arm of meaning: `near` (id, similarity), the nearest vectors of the scope, exactly or by the index."""

# Every vector of the scope with its similarity. OFFSET 0 keeps the look-up by key: for a bad estimate the planner would
# read the whole table of vectors instead.
MEASURE_CHOSEN = """
measured AS MATERIALIZED (
    SELECT chosen.id, v.similarity FROM chosen CROSS JOIN LATERAL (
        SELECT -(vector <#> %(vector)s) AS similarity FROM vectors WHERE vectors.id = chosen.id OFFSET 0
    ) v {guard}
)"""
MEASURE_ALL = "measured AS MATERIALIZED (SELECT id, -(vector <#> %(vector)s) AS similarity FROM {source} {guard})"
EXACT = "SELECT id, similarity FROM measured ORDER BY similarity DESC LIMIT %(depth)s"
# The iterative scan gives relaxed order: twice as many are taken and sorted again. Nothing but the bare distance may
# stand in the inner ORDER BY, or the index is not used.
APPROXIMATE = """
SELECT id, similarity FROM (
    SELECT id, -(vector <#> %(vector)s) AS similarity FROM {source} {guard}
    ORDER BY vector <#> %(vector)s LIMIT %(depth)s * 2
) relaxed ORDER BY similarity DESC LIMIT %(depth)s"""
FILTERED = "(SELECT id, vector FROM vectors WHERE id IN (SELECT id FROM scope)) filtered"
FEW, MANY = "WHERE (SELECT few FROM size)", "WHERE NOT (SELECT few FROM size)"


CHOSEN = "chosen AS MATERIALIZED (SELECT id FROM scope)"
# Which similarity says nothing: mean and spread over the scope; for a large one, over some hundreds of its rows.
# Ten imagined rows (mean 0.2, spread 0.1, what all-MiniLM-L6-v2 gives unrelated texts) steady the smallest scopes.
NOISE = """
noise AS MATERIALIZED (
    SELECT (sum(similarity) + 10 * 0.2::float8) / (count(*) + 10) AS mean,
           sqrt((coalesce(var_pop(similarity), 0) * count(*) + 10 * 0.01::float8) / (count(*) + 10)) AS spread
    FROM ({sample}) sample
)"""
SAMPLE_MEASURED = "(SELECT similarity FROM measured LIMIT 2000)"
SAMPLE = "(SELECT -(vector <#> %(vector)s) AS similarity FROM vectors {guard} LIMIT 500)"


def arm(rows: str, *, complete: bool, few: bool | None, again: bool = False) -> list[str]:
    """The parts of the statement: `near` and `noise`. few: scan (True), index (False), or let it choose (None).

    rows: compiled SQL of (id, vector). complete: whether those rows are the scope already; else its ids decide. again:
    a scan because the index fell short, of a scope that may be large: how to join is then the planner's business.
    """
    source = "vectors" if complete else FILTERED
    parts = [f"vectors (id, vector) AS NOT MATERIALIZED ({rows})"]
    if few and not complete and not again:
        parts.append(CHOSEN)
    if few is not False:
        measure = MEASURE_ALL if complete or again else MEASURE_CHOSEN
        parts.append(measure.format(source=source, guard="" if few else FEW))
    scan = [EXACT] if few is not False else []
    index = [APPROXIMATE.format(source=source, guard="" if few is False else MANY)] if not few else []
    samples = [SAMPLE_MEASURED] if few is not False else []
    samples += [SAMPLE.format(guard="" if few is False else MANY)] if not few else []
    near = " UNION ALL ".join(f"({each})" for each in scan + index)
    noise = NOISE.format(sample=" UNION ALL ".join(samples))
    return [*parts, f"near AS MATERIALIZED ({near})", noise]
