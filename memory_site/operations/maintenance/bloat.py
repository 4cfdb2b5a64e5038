"""Space of tables and indexes that their rows do not need.

With the extension pgstattuple the free space is measured. Without it, it is estimated from the average widths that
ANALYZE stores: rows of a page times pages, as in PostgreSQL's documented page layout
(https://www.postgresql.org/docs/current/storage-page-layout.html). Padding between columns is not known, so that the
estimate of a fresh table is off by up to a fifth. GIN and BRIN indexes have no estimate.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from memory_site.operations.maintenance.findings import MB, Finding, Severity, build_psql_command, fetch, format_size

#: Of a table or index that is reported.
MIN_WASTED_SHARE, MIN_WASTED_BYTES = 0.5, 10 * MB
#: Smaller ones have no estimate: a few pages more are no bloat.
MIN_SIZE = 1 * MB

PAGE_BYTES, PAGE_HEADER, LINE_POINTER, ALIGNMENT = 8192, 24, 4, 8
HEAP_ROW_HEADER, INDEX_ROW_HEADER, BTREE_SPECIAL, HNSW_SPECIAL = 24, 8, 16, 8
#: Of pgvector 0.8: hnsw.h, HnswElementTupleData before the vector, HnswNeighborTupleData before the neighbours.
HNSW_ELEMENT_HEADER, HNSW_NEIGHBOURS_HEADER, ITEM_POINTER = 72, 4, 6

SELECT_TABLES_SQL = """
SELECT pg_class.oid::regclass::text, pg_relation_size(pg_class.oid), reltuples::float8,
       coalesce(substring(reloptions::text FROM 'fillfactor=([0-9]+)')::int, 100), stored.width::float8
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN (
    SELECT schemaname, tablename, sum((1 - null_frac) * avg_width) AS width
    FROM pg_stats WHERE NOT inherited GROUP BY schemaname, tablename
) stored ON schemaname = nspname AND tablename = relname
WHERE relkind IN ('r', 'm') AND reltuples >= 0 AND pg_relation_size(pg_class.oid) >= %(min)s
  AND nspname !~ '^pg_' AND nspname <> 'information_schema'
"""
# An index of an expression has statistics of its own, under its name.
SELECT_BTREES_SQL = """
SELECT pg_index.indexrelid::regclass::text, pg_relation_size(pg_index.indexrelid), entry.reltuples::float8,
       coalesce(substring(entry.reloptions::text FROM 'fillfactor=([0-9]+)')::int, 90),
       sum((1 - null_frac) * avg_width)::float8
FROM pg_index
JOIN pg_class entry ON entry.oid = pg_index.indexrelid AND entry.relkind = 'i'
JOIN pg_class owner ON owner.oid = pg_index.indrelid
JOIN pg_namespace ON pg_namespace.oid = owner.relnamespace
JOIN pg_am ON pg_am.oid = entry.relam AND amname = 'btree'
CROSS JOIN LATERAL generate_series(1, indnatts) number
JOIN pg_attribute ours ON ours.attrelid = pg_index.indexrelid AND ours.attnum = number
LEFT JOIN pg_attribute theirs ON theirs.attrelid = indrelid AND theirs.attnum = nullif(indkey[number - 1], 0)
LEFT JOIN pg_stats ON schemaname = nspname AND NOT inherited
     AND tablename = CASE indkey[number - 1] WHEN 0 THEN entry.relname ELSE owner.relname END
     AND pg_stats.attname = coalesce(theirs.attname, ours.attname)
WHERE indisvalid AND entry.reltuples >= 0 AND pg_relation_size(pg_index.indexrelid) >= %(min)s
  AND nspname !~ '^pg_' AND nspname <> 'information_schema'
GROUP BY pg_index.indexrelid, entry.reltuples, entry.reloptions::text
HAVING bool_and(avg_width IS NOT NULL)
"""
SELECT_HNSW_SQL = """
SELECT indexrelid::regclass::text, pg_relation_size(indexrelid),
       greatest(entry.reltuples, owner.reltuples)::float8,
       coalesce(substring(entry.reloptions::text FROM '[{,]m=([0-9]+)')::int, 16),
       (SELECT avg_width FROM pg_stats WHERE schemaname = nspname AND tablename = owner.relname AND NOT inherited
          AND attname = (SELECT attname FROM pg_attribute WHERE attrelid = indrelid AND attnum = indkey[0]))
FROM pg_index
JOIN pg_class entry ON entry.oid = indexrelid AND entry.relkind = 'i'
JOIN pg_class owner ON owner.oid = indrelid
JOIN pg_namespace ON pg_namespace.oid = owner.relnamespace
JOIN pg_am ON pg_am.oid = entry.relam AND amname = 'hnsw'
WHERE indisvalid AND pg_relation_size(indexrelid) >= %(min)s
"""
HAS_PGSTATTUPLE_SQL = """
SELECT has_function_privilege(oid, 'EXECUTE') FROM pg_proc WHERE proname = 'pgstatindex' AND pronargs = 1 LIMIT 1
"""
# Of a table: free space that holds neither live nor dead rows; all-visible pages are not read.
MEASURE_TABLE_SQL = (
    "SELECT (approx_free_percent + dead_tuple_percent) / 100 FROM pgstattuple_approx(%(name)s::regclass)"
)
MEASURE_BTREE_SQL = "SELECT 1 - avg_leaf_density / 90 FROM pgstatindex(%(name)s::regclass)"


@dataclass(frozen=True)
class Bloat:
    """The size of a table or index in bytes, and the share of it that its rows do not need, from 0 to 1: measured by
    pgstattuple, which knows no HNSW (`has_measure`), or estimated."""

    name: str
    is_index: bool
    size: int
    wasted_share: float
    is_measured: bool = False
    has_measure: bool = True

    @property
    def wasted(self) -> float:
        return self.size * self.wasted_share

    @property
    def is_reported(self) -> bool:
        return self.wasted_share >= MIN_WASTED_SHARE and self.wasted >= MIN_WASTED_BYTES


def read_bloat() -> list[Bloat]:
    """Return the bloat of each table and index of a megabyte or more that has an estimate. Raises no error for those
    of which the site's role may read no statistics: they are left out."""
    estimates = [*estimate_tables(), *estimate_btrees(), *estimate_hnsw()]
    return [measure(each) for each in estimates] if has_pgstattuple() else estimates


def has_pgstattuple() -> bool:
    return fetch(HAS_PGSTATTUPLE_SQL) == [(True,)]


def measure(estimate: Bloat) -> Bloat:
    """Replace an estimate by pgstattuple's figure."""
    if not estimate.has_measure:
        return estimate
    statement = MEASURE_BTREE_SQL if estimate.is_index else MEASURE_TABLE_SQL
    [(share,)] = fetch(statement, name=estimate.name)
    share = 0.0 if share is None or math.isnan(share) else min(max(float(share), 0.0), 1.0)
    return Bloat(estimate.name, estimate.is_index, estimate.size, share, is_measured=True)


def estimate_tables() -> Iterator[Bloat]:
    for name, size, rows, fill_factor, width in fetch(SELECT_TABLES_SQL, min=MIN_SIZE):
        row = align(HEAP_ROW_HEADER + width) + LINE_POINTER
        yield build_estimate(name, size, rows, row, (PAGE_BYTES - PAGE_HEADER) * fill_factor / 100, is_index=False)


def estimate_btrees() -> Iterator[Bloat]:
    for name, size, rows, fill_factor, width in fetch(SELECT_BTREES_SQL, min=MIN_SIZE):
        row = align(INDEX_ROW_HEADER + width) + LINE_POINTER
        room = (PAGE_BYTES - PAGE_HEADER - BTREE_SPECIAL) * fill_factor / 100
        yield build_estimate(name, size, rows, row, room, is_index=True)


def estimate_hnsw() -> Iterator[Bloat]:
    for name, size, rows, m, width in fetch(SELECT_HNSW_SQL, min=MIN_SIZE):
        if width is not None:
            share = max(0.0, 1 - rows * compute_hnsw_bytes(m, width) / size)
            yield Bloat(name, is_index=True, size=size, wasted_share=share, has_measure=False)


def compute_hnsw_bytes(m: int, vector_bytes: int) -> float:
    """Return the bytes that one vector takes in an HNSW index of pgvector: those of its page, divided by how many fit.

    A vector has 2 m neighbours in the lowest layer; one in m vectors has m more in the next, and so on.
    """
    element = align(HNSW_ELEMENT_HEADER + vector_bytes) + LINE_POINTER
    neighbours = align(HNSW_NEIGHBOURS_HEADER + 2 * m * ITEM_POINTER) + LINE_POINTER
    return PAGE_BYTES / max((PAGE_BYTES - PAGE_HEADER - HNSW_SPECIAL) // (element + neighbours), 1)


def build_estimate(name: str, size: int, rows: float, row: float, room: float, *, is_index: bool) -> Bloat:
    pages = math.ceil(rows / max(room // row, 1))
    return Bloat(name, is_index, size, min(max(0.0, 1 - pages * PAGE_BYTES / size), 1.0))


def align(size: float) -> int:
    return math.ceil(size / ALIGNMENT) * ALIGNMENT


def find_bloat(bloat: list[Bloat]) -> Iterator[Finding]:
    for each in filter(lambda each: each.is_reported, bloat):
        how = "measured" if each.is_measured else "estimated"
        message = f"{each.wasted_share:.0%} of {format_size(each.size)} is not needed ({how})."
        if each.is_index:
            mend = f"python manage.py maintain --reindex {each.name}"
        else:
            message += " New rows use the room; to give it back, the table is locked while it is written again."
            mend = build_psql_command(f"VACUUM (FULL, ANALYZE) {each.name}")
        yield Finding(Severity.ADVICE, "bloat", each.name, message, mend)
