"""How many rows a scope holds: exact enough to choose between scan and index, and to weight a word by its rarity."""

from collections.abc import Hashable
from dataclasses import dataclass

from memories.search.query import SEARCHED_NAMESPACE_SQL
from memory_site.core.caches import Cache

# Scopes up to the crossover are scanned exactly: 2 to 4 µs a vector. The index costs 2 to 5 ms, and the fewer rows a
# filter keeps, the lower its recall. In a large table the crossover is a share of the rows (the index is worst with a
# filter that keeps few of very many), up to what a scan does in about 50 ms.
MIN_EXACT_ROWS, EXACT_ROWS_DIVISOR, MAX_EXACT_ROWS = 5_000, 20, 20_000
SIZE_CACHE_SECONDS, MAX_CACHED_SIZES = 30.0, 10_000

# `scope_ids` are the ids that the filters keep, up to one more than the crossover; the exact scan reads them again.
# For a larger scope the namespace's rows when they were last counted suffice: only their logarithm counts.
COUNTED_SIZE_CTES = f"""
crossover AS MATERIALIZED (
    SELECT coalesce(sum(memories), 0) AS known,
           least(greatest({MIN_EXACT_ROWS}, max(memories_in_index) / {EXACT_ROWS_DIVISOR}), {MAX_EXACT_ROWS}) AS rows
    FROM memories_namespacesize stored WHERE stored.namespace_id = {SEARCHED_NAMESPACE_SQL.format("stored")}
),
scope_ids AS MATERIALIZED (SELECT id FROM scope LIMIT (SELECT rows + 1 FROM crossover)),
size AS MATERIALIZED (
    SELECT CASE WHEN n <= c.rows THEN n ELSE greatest(n, c.known) END::float8 AS rows, n <= c.rows AS few
    FROM crossover c, (SELECT count(*) AS n FROM scope_ids) counted
)"""
KNOWN_SIZE_CTE = "size AS MATERIALIZED (SELECT %(rows)s::float8 AS rows, %(few)s::bool AS few)"


@dataclass(frozen=True)
class ScopeSize:
    """The rows of a scope, exact up to the crossover, and whether they are few enough to scan."""

    rows: float
    few: bool


#: By the statement and parameters of a scope. A cached size saves counting; a stale one costs time, never a hit.
scope_sizes: Cache[Hashable, ScopeSize] = Cache(MAX_CACHED_SIZES, SIZE_CACHE_SECONDS)
