"""Tables: which are due for a vacuum or an analyze, and what stands in the way.

PostgreSQL's autovacuum does both later: at 20 % dead rows, and at 10 % changed ones. It never analyzes a partitioned
table as a whole.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from memories.vacuum import list_parts, vacuum_vectors
from memory_site.operations.maintenance.findings import Finding, Severity, Step, build_psql_command, execute, fetch

#: A table is vacuumed when so many rows, and this share of all, are dead.
MIN_DEAD_ROWS, MIN_DEAD_SHARE = 1_000, 0.10
#: A table is analyzed when so many rows, and this share of all, changed since the last time.
MIN_CHANGED_ROWS, MIN_CHANGED_SHARE = 1_000, 0.05
#: ANALYZE of a partitioned table analyzes its partitions too, behind it.
MAX_ANALYZE_TIME = timedelta(hours=1)

# The age of a table counts from the oldest row that is not frozen, in it or in its TOAST table.
SELECT_TABLES_SQL = """
SELECT pg_class.oid::regclass::text, pg_class.relkind::text, pg_has_role(pg_class.relowner, 'USAGE'),
       coalesce(n_live_tup, 0), coalesce(n_dead_tup, 0), coalesce(n_mod_since_analyze, 0),
       pg_class.reltuples < 0, pg_relation_size(pg_class.oid), greatest(last_analyze, last_autoanalyze),
       CASE pg_class.relfrozenxid WHEN '0' THEN 0
            ELSE greatest(age(pg_class.relfrozenxid), coalesce(age(toast.relfrozenxid), 0)) END,
       CASE pg_class.relminmxid WHEN '0' THEN 0
            ELSE greatest(mxid_age(pg_class.relminmxid), coalesce(mxid_age(toast.relminmxid), 0)) END,
       coalesce(pg_class.reloptions @> '{autovacuum_enabled=false}'
                OR pg_class.reloptions @> '{autovacuum_enabled=off}', false),
       (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = pg_class.oid)
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
LEFT JOIN pg_class toast ON toast.oid = pg_class.reltoastrelid
LEFT JOIN pg_stat_user_tables ON relid = pg_class.oid
WHERE pg_class.relkind IN ('r', 'p', 'm') AND pg_class.relpersistence <> 't'
  AND nspname <> 'information_schema' AND nspname !~ '^pg_'
ORDER BY 1
"""
SELECT_LIMITS_SQL = """
SELECT current_setting('autovacuum_freeze_max_age')::int, current_setting('autovacuum_multixact_freeze_max_age')::int,
       current_setting('autovacuum')::bool AND current_setting('track_counts')::bool
"""


@dataclass(frozen=True)
class Table:
    """A table, partition, partitioned table or materialized view, as PostgreSQL's statistics describe it."""

    name: str
    kind: str
    is_owned: bool
    live: int
    dead: int
    changed: int
    never_analyzed: bool
    size: int
    analyzed_at: datetime | None
    age: int
    multixact_age: int
    without_autovacuum: bool
    parent: str | None

    @property
    def is_partitioned(self) -> bool:
        return self.kind == "p"

    @property
    def dead_share(self) -> float:
        return self.dead / max(self.live + self.dead, 1)

    @property
    def has_many_dead_rows(self) -> bool:
        return self.dead >= MIN_DEAD_ROWS and self.dead_share >= MIN_DEAD_SHARE

    @property
    def has_many_changes(self) -> bool:
        return self.changed >= MIN_CHANGED_ROWS and self.changed >= MIN_CHANGED_SHARE * self.live


@dataclass(frozen=True)
class Limits:
    """At which ages autovacuum freezes a table, whatever happens, and whether it runs."""

    age: int
    multixact_age: int
    has_autovacuum: bool

    def are_exceeded(self, table: Table) -> bool:
        return table.age > self.age or table.multixact_age > self.multixact_age


def read_tables() -> list[Table]:
    return [Table(*row) for row in fetch(SELECT_TABLES_SQL)]


def read_limits() -> Limits:
    return Limits(*fetch(SELECT_LIMITS_SQL)[0])


def plan_table_steps(tables: Iterable[Table]) -> Iterator[Step]:
    """Yield what is due: the vectors by their own rule (decision 62), then the other tables."""
    tables, limits = [table for table in tables if table.is_owned], read_limits()
    vectors = {part.table for part in list_parts()}
    yield from plan_vector_step()
    for table in tables:
        if table.is_partitioned:
            continue
        if limits.are_exceeded(table):
            yield plan_freezing(table, is_of_vectors=table.name in vectors)
        elif table.has_many_dead_rows and table.name not in vectors:
            yield plan_vacuum(table)
        elif is_analyze_due(table):
            yield plan_analyze(table, describe_changes(table))
    yield from plan_partitioned(tables)


def plan_vector_step() -> Iterator[Step]:
    if due := [part for part in list_parts() if part.is_due]:
        rows = sum(part.rows.dead for part in due)
        message = f"{rows:,} vectors are deleted but still in the index: rebuild it, then vacuum."
        yield Step("vacuum", ", ".join(part.table for part in due), message, partial(vacuum_vectors, due))


def plan_freezing(table: Table, *, is_of_vectors: bool) -> Step:
    """Freeze a table of vectors without its indexes: repairing that of the vectors costs more than building it."""
    options = "FREEZE, ANALYZE, INDEX_CLEANUP OFF" if is_of_vectors else "FREEZE, ANALYZE"
    message = f"The oldest row is {table.age:,} transactions old, and autovacuum has not frozen it."
    return Step("freeze", table.name, message, partial(execute, f"VACUUM ({options}) {table.name}"))


def plan_vacuum(table: Table) -> Step:
    message = f"{table.dead:,} of {table.live + table.dead:,} rows are dead ({table.dead_share:.0%})."
    return Step("vacuum", table.name, message, partial(execute, f"VACUUM (ANALYZE) {table.name}"))


def plan_analyze(table: Table, message: str) -> Step:
    return Step("analyze", table.name, message, partial(execute, f"ANALYZE {table.name}"))


def is_analyze_due(table: Table) -> bool:
    return (table.never_analyzed and table.size > 0) or table.has_many_changes


def describe_changes(table: Table) -> str:
    if table.never_analyzed:
        return "Never analyzed: the planner guesses."
    return f"{table.changed:,} rows changed since the last time, of {table.live:,}."


def plan_partitioned(tables: Iterable[Table]) -> Iterator[Step]:
    """Yield the partitioned tables of which a partition was analyzed after the whole."""
    tables = list(tables)
    for whole in filter(lambda table: table.is_partitioned, tables):
        parts = [table for table in tables if table.parent == whole.name]
        times = [part.analyzed_at for part in parts if part.analyzed_at]
        is_late = bool(times) and (whole.analyzed_at is None or max(times) > whole.analyzed_at + MAX_ANALYZE_TIME)
        if is_late or any(is_analyze_due(part) for part in parts):
            yield plan_analyze(whole, "Autovacuum analyzes its partitions, never the whole.")


def find_table_faults(tables: Iterable[Table]) -> Iterator[Finding]:
    """Yield what the site's role may not mend, and what keeps PostgreSQL from mending it."""
    if not read_limits().has_autovacuum:
        message = "Autovacuum is off for the whole server: dead rows stay, and old transactions are not frozen."
        yield Finding(
            Severity.PROBLEM, "autovacuum off", "server", message, build_psql_command("ALTER SYSTEM RESET autovacuum")
        )
    for table in tables:
        if table.without_autovacuum:
            message = "Autovacuum is off for this table: only maintenance vacuums it."
            mend = build_psql_command(f"ALTER TABLE {table.name} RESET (autovacuum_enabled)")
            yield Finding(Severity.PROBLEM, "autovacuum off", table.name, message, mend)
        if not table.is_owned and (table.has_many_dead_rows or is_analyze_due(table)):
            message = "A vacuum or an analyze is due, and the site's role does not own the table."
            yield Finding(Severity.ADVICE, "not owned", table.name, message, f"VACUUM (ANALYZE) {table.name}, as owner")
