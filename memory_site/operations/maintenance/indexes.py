"""Indexes: invalid ones are rebuilt or dropped; duplicates, and those that nothing uses, are named."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from django.conf import settings

from memory_site.operations.maintenance.findings import (
    MB,
    Finding,
    Severity,
    Step,
    build_psql_command,
    execute,
    fetch,
    format_size,
)

#: What an interrupted rebuild leaves beside the index, by REINDEX CONCURRENTLY and by `tune_index`.
LEFTOVER = re.compile(r"_cc(new|old)\d*\"?$|_tuned\"?$")
#: Nothing is called unused before statistics are so old.
MIN_STATISTICS_AGE = timedelta(days=30)
#: An unused index that is smaller costs next to nothing.
MIN_UNUSED_SIZE = 1 * MB

# An index that a session builds is invalid too, until it is finished. What another role builds has no name here.
SELECT_INVALID_SQL = """
SELECT indexrelid::regclass::text, indrelid::regclass::text, relkind = 'I', pg_has_role(relowner, 'USAGE')
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE NOT indisvalid AND nspname !~ '^pg_' AND NOT EXISTS (
    SELECT FROM pg_stat_progress_create_index building
    WHERE datname = current_database() AND (building.relid = indrelid OR building.relid IS NULL)
)
ORDER BY 1
"""
# Indexes of partitions belong to that of the table, which stands for them.
SELECT_DUPLICATES_SQL = """
SELECT indrelid::regclass::text, array_agg(indexrelid::regclass::text ORDER BY is_needed DESC, indexrelid),
       bool_and(is_needed), max(pg_relation_size(indexrelid)), bool_or(relkind = 'I')
FROM (
    SELECT pg_index.*, relam, relkind, relname,
           indisunique OR indisreplident OR pg_constraint.oid IS NOT NULL AS is_needed,
           concat_ws(' ', relam, indkey, indclass, indcollation, indoption, indpred, indexprs, indnullsnotdistinct)
               AS form
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    LEFT JOIN pg_constraint ON conindid = indexrelid AND contype IN ('p', 'u', 'x')
    WHERE indisvalid AND NOT relispartition AND nspname !~ '^pg_' AND nspname <> 'information_schema'
) named
GROUP BY indrelid, form HAVING count(*) > 1
"""
# Of a partitioned index the scans and bytes of all parts. The one that identifies rows for replication is needed.
SELECT_UNUSED_SQL = """
SELECT root.oid::regclass::text, sum(pg_relation_size(part.oid)), root.relkind = 'I'
FROM pg_index
JOIN pg_class part ON part.oid = indexrelid AND part.relkind = 'i'
JOIN pg_class root ON root.oid = coalesce((SELECT inhparent FROM pg_inherits WHERE inhrelid = part.oid), part.oid)
JOIN pg_namespace ON pg_namespace.oid = root.relnamespace
LEFT JOIN pg_stat_user_indexes used ON used.indexrelid = part.oid
WHERE indisvalid AND NOT indisunique AND NOT indisreplident AND NOT indisexclusion
  AND nspname !~ '^pg_' AND nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = part.oid)
GROUP BY root.oid
HAVING sum(coalesce(idx_scan, 0)) = 0 AND sum(pg_relation_size(part.oid)) >= %(min)s
ORDER BY 2 DESC
"""
# A crash empties the statistics. It is seen at those of the background writer alone.
SELECT_STATISTICS_AGE_SQL = """
SELECT now() - greatest(
    (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
    (SELECT stats_reset FROM pg_stat_bgwriter)
)
"""
SELECT_INDEX_SQL = """
SELECT indexrelid::regclass::text, indrelid::regclass::text, relkind = 'I', pg_has_role(relowner, 'USAGE')
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indexrelid = to_regclass(%(name)s)
"""


class IndexRefused(Exception):
    """The index cannot be rebuilt. The message says why."""


@dataclass(frozen=True)
class Index:
    """An index as the catalog has it; `is_partitioned` has no pages of its own."""

    name: str
    table: str
    is_partitioned: bool
    is_owned: bool

    @property
    def is_leftover(self) -> bool:
        return LEFTOVER.search(self.name) is not None


def plan_index_steps(invalid: list[Index]) -> Iterator[Step]:
    """Yield what mends each invalid index without locking its table."""
    for index in filter(lambda index: index.is_owned and not index.is_partitioned, invalid):
        if index.is_leftover:
            message = f"An interrupted rebuild left it on {index.table}: every write costs, no search uses it."
            run = partial(execute, f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
            yield Step("drop leftover index", index.name, message, run, index.table)
        else:
            message = f"It is not valid: every write to {index.table} costs, no search uses it."
            yield Step("rebuild invalid index", index.name, message, partial(rebuild, index), index.table)


def rebuild(index: Index) -> None:
    """Build an index beside the old one, which then goes. Searches and writes go on. Cannot run in a transaction."""
    execute(f"REINDEX INDEX CONCURRENTLY {index.name}")


def read_invalid() -> list[Index]:
    return [Index(*row) for row in fetch(SELECT_INVALID_SQL)]


def find_index(name: str) -> Index:
    """Return the index of that name. Raises IndexRefused if there is none that the site's role can rebuild."""
    rows = fetch(SELECT_INDEX_SQL, name=name)
    if not rows:
        raise IndexRefused(f"There is no index {name}.")
    index = Index(*rows[0])
    if not index.is_owned:
        raise IndexRefused(f"The role of the site does not own {index.name}: its owner can rebuild it.")
    if index.is_partitioned:
        raise IndexRefused(f"{index.name} is the whole of a partitioned index: name the index of a partition.")
    return index


def find_index_faults(invalid: list[Index]) -> Iterator[Finding]:
    """Yield invalid indexes that are left to an administrator, duplicates and unused ones."""
    for index in invalid:
        if index.is_partitioned:
            message = f"Some partition of {index.table} lacks its part, so it is not valid."
            mend = f"DROP INDEX {index.name} and create it again as the migration did"
            yield Finding(Severity.PROBLEM, "invalid index", index.name, message, mend)
        elif not index.is_owned:
            message = f"It is not valid, and the site's role does not own {index.table}."
            mend = f"REINDEX INDEX CONCURRENTLY {index.name}, as owner"
            yield Finding(Severity.PROBLEM, "invalid index", index.name, message, mend)
    yield from find_duplicates()
    yield from find_unused()


def find_duplicates() -> Iterator[Finding]:
    """Yield each index that equals another one of its table; none that holds a constraint."""
    for table, names, all_needed, size, is_partitioned in fetch(SELECT_DUPLICATES_SQL):
        kept, *others = names
        for name in () if all_needed else others:
            message = f"The same as {kept} on {table}; {format_size(size)}, and every write goes to both."
            mend = build_psql_command(build_drop(name, is_partitioned))
            yield Finding(Severity.ADVICE, "duplicate index", name, message, mend)


def find_unused() -> Iterator[Finding]:
    """Yield the indexes without a scan since the statistics began, if these are old enough to say so."""
    age = read_statistics_age()
    if age is None or age < MIN_STATISTICS_AGE:
        known = "of unknown age" if age is None else f"{age.days} days old"
        message = f"Statistics are {known}: nothing is called unused before {MIN_STATISTICS_AGE.days} days."
        yield Finding(Severity.NOTE, "unused indexes", "statistics", message, "wait; a crash or a reset starts again")
        return
    where = " Replicas have statistics of their own: look there too." if settings.REPLICAS else ""
    for name, size, is_partitioned in fetch(SELECT_UNUSED_SQL, min=MIN_UNUSED_SIZE):
        message = f"Not used for {age.days} days; {format_size(size)}. A later release may expect it.{where}"
        yield Finding(
            Severity.NOTE, "unused index", name, message, build_psql_command(build_drop(name, is_partitioned))
        )


def build_drop(name: str, is_partitioned: bool) -> str:
    """Return the statement; PostgreSQL cannot drop the index of a partitioned table without a lock."""
    return f"DROP INDEX {name}" if is_partitioned else f"DROP INDEX CONCURRENTLY {name}"


def read_statistics_age() -> timedelta | None:
    return fetch(SELECT_STATISTICS_AGE_SQL)[0][0]
