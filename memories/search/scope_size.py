"""How many rows a scope holds: enough to choose between scan and index, and to weigh a word by its rarity."""

from collections.abc import Hashable
from dataclasses import dataclass

from memory_site.core.caches import Cache

# Scopes with no more rows than this are scanned exactly: 2 to 4 µs a vector, where the index costs 2 to 5 ms and, the
# fewer rows a filter keeps, recall. In a large table it is a share of the rows (what the index is worst at is a filter
# that keeps few of very many), up to what a scan can do in about 50 ms.
MIN_EXACT_ROWS, EXACT_ROWS_DIVISOR, MAX_EXACT_ROWS = 5_000, 20, 20_000
SIZE_CACHE_SECONDS, MAX_CACHED_SIZES = 30.0, 10_000

# `chosen` is what a filter on the wide rows keeps, cut off above the crossover, read once and used by the exact scan.
# Above it the table's own estimate is good enough: only its logarithm counts.
COUNTED_SIZE_CTES = f"""
crossover AS MATERIALIZED (
    SELECT reltuples, least(greatest({MIN_EXACT_ROWS}, reltuples / {EXACT_ROWS_DIVISOR}), {MAX_EXACT_ROWS})::int AS rows
    FROM pg_class WHERE oid = 'memories_memory'::regclass
),
chosen AS MATERIALIZED (SELECT id FROM scope LIMIT (SELECT rows + 1 FROM crossover)),
size AS MATERIALIZED (
    SELECT CASE WHEN n <= c.rows THEN n ELSE greatest(n, c.reltuples) END::float8 AS rows, n <= c.rows AS few
    FROM crossover c, (SELECT count(*) AS n FROM chosen) counted
)"""
KNOWN_SIZE_CTE = "size AS MATERIALIZED (SELECT %(rows)s::float8 AS rows, %(few)s::bool AS few)"


@dataclass(frozen=True)
class ScopeSize:
    """Rows of a scope, exact up to the crossover, and whether they are few enough to scan."""

    rows: float
    few: bool


#: By the statement and parameters of a scope. A known size saves counting; a stale one costs time, never a hit.
scope_sizes: Cache[Hashable, ScopeSize] = Cache(MAX_CACHED_SIZES, SIZE_CACHE_SECONDS)
