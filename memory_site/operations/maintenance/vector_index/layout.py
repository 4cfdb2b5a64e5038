"""The index of the vectors as the catalog has it: of the table, or of each of its partitions."""

from dataclasses import dataclass

from django.db import connection

from memories.vacuum import INDEX, TABLE
from memory_site.operations.distribution.partitions import shorten
from memory_site.operations.maintenance.bloat import compute_hnsw_bytes
from memory_site.operations.maintenance.findings import fetch

#: Of a candidate's name. `maintain` drops one that is not valid.
ENDING = "_tuned"
#: Bytes of a stored vector: a header of 8, and 2 for each of 768 numbers.
VECTOR_BYTES = 8 + 2 * 768

# Statistics may be gone after a crash, and the count of the last ANALYZE may be old: the larger one counts.
SELECT_LEAVES_SQL = """
SELECT indrelid::regclass::text, entry.relname, greatest(coalesce(n_live_tup, 0), owner.reltuples)::bigint,
       pg_relation_size(indexrelid), substring(pg_get_indexdef(indexrelid) FROM ' (USING .*?)(?: WITH .*)?$'),
       coalesce(substring(entry.reloptions::text FROM '[{,]m=([0-9]+)')::int, 16),
       coalesce(substring(entry.reloptions::text FROM 'ef_construction=([0-9]+)')::int, 64)
FROM (
    SELECT pg_index.*, pg_class.relname, pg_class.reloptions FROM pg_index
    JOIN pg_class ON pg_class.oid = indexrelid AND relkind = 'i'
) entry
JOIN pg_class owner ON owner.oid = indrelid
LEFT JOIN pg_stat_user_tables ON relid = indrelid
WHERE indexrelid = %(index)s::regclass
   OR indexrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %(index)s::regclass)
ORDER BY indexrelid
"""
SELECT_CANDIDATE_SQL = """
SELECT indisvalid, coalesce(substring(reloptions::text FROM '[{,]m=([0-9]+)')::int, 16),
       coalesce(substring(reloptions::text FROM 'ef_construction=([0-9]+)')::int, 64)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indexrelid = to_regclass(%(name)s)
"""


@dataclass(frozen=True)
class Options:
    """How an HNSW index is built: neighbours of each vector in a layer, and candidates for them."""

    m: int
    ef_construction: int

    def __str__(self) -> str:
        return f"m {self.m}, ef_construction {self.ef_construction}"


@dataclass(frozen=True)
class Candidate:
    """What is there of a candidate: a killed build leaves one that is not valid."""

    is_valid: bool
    options: Options


@dataclass(frozen=True)
class Leaf:
    """The table of vectors or a partition of it, with its index: each is built by itself."""

    table: str
    index: str
    vectors: int
    size: int
    method: str
    options: Options

    @property
    def candidate_name(self) -> str:
        return shorten(self.index, ENDING)

    def find_candidate(self) -> Candidate | None:
        rows = fetch(SELECT_CANDIDATE_SQL, name=f'"{self.candidate_name}"')
        return Candidate(rows[0][0], Options(*rows[0][1:])) if rows else None

    def estimate_bytes(self, options: Options) -> int:
        """Return the size of an index with these options."""
        return round(self.vectors * compute_hnsw_bytes(options.m, VECTOR_BYTES))


@dataclass(frozen=True)
class Layout:
    """The index, of one leaf or of several partitions."""

    leaves: list[Leaf]

    @property
    def is_partitioned(self) -> bool:
        return self.leaves[0].table != TABLE

    @property
    def vectors(self) -> int:
        return sum(leaf.vectors for leaf in self.leaves)

    @property
    def largest(self) -> Leaf:
        return max(self.leaves, key=lambda leaf: leaf.vectors)

    @property
    def options(self) -> Options:
        """Those of the largest part."""
        return self.largest.options


def read_layout() -> Layout:
    return Layout(
        [
            Leaf(table, index, vectors, size, method, Options(m, ef_construction))
            for table, index, vectors, size, method, m, ef_construction in fetch(SELECT_LEAVES_SQL, index=INDEX)
        ]
    )


def read_ef_search() -> int:
    """Return the value in force for this process's connections."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT '[1]'::vector")  # defines the setting
    return int(fetch("SELECT current_setting('hnsw.ef_search')")[0][0])
