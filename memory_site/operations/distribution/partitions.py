"""Rebuild tables as hash partitions by namespace, or as plain tables again.

The new table is filled from the old one, takes its name, and gets what the old one had: PostgreSQL has no statement
that turns a table into a partitioned one. Everything happens in the caller's transaction, under a lock that readers and
writers wait for. So a run that ends early, however it ends, changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from django.db import OperationalError, connection, transaction

from memory_site.core.db.cluster import list_distributed_tables
from memory_site.operations.distribution.definitions import (
    NAMESPACE_COLUMN,
    Index,
    Table,
    View,
    fetch,
    read_foreign_keys,
    read_functions,
    read_table,
    read_views,
)

MAX_PARTITIONS = 256
MAX_NAME_LENGTH = 63
LOCK_WAIT_SECONDS = 10
#: A copied row is one unit of work, and so is a row that an index takes up; these are much slower. Measured.
WORK_OF_INDEX = {"gin": 10, "hnsw": 100}
# 32 MB of rows at a time: the bar moves, and Ctrl+C is noticed.
BLOCKS_PER_COPY = 4_096
# A client that is killed frees its locks soon. A parallel build needs shared memory, of which a container has little.
SETTINGS = {
    "statement_timeout": "0",
    "lock_timeout": f"{LOCK_WAIT_SECONDS}s",
    "client_connection_check_interval": "5s",
    "max_parallel_maintenance_workers": "0",
}

SELECT_UNKEYED_SQL = """
SELECT indexrelid::regclass::text FROM pg_index
WHERE indrelid = %(table)s::regclass AND indisunique AND NOT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = indrelid AND attname = %(column)s AND attnum = ANY (indkey[0:indnkeyatts - 1])
)
"""
SELECT_SIZE_SQL = """
SELECT pg_size_pretty(sum(pg_total_relation_size(oid))) FROM pg_class
WHERE oid = %(table)s::regclass OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %(table)s::regclass)
"""
SELECT_PRIVILEGES_SQL = """
SELECT pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE')
FROM pg_class WHERE oid = %(table)s::regclass
"""
SELECT_UNSUPPORTED_SQL = """
SELECT 'row security' FROM pg_policy WHERE polrelid = %(table)s::regclass
UNION ALL SELECT 'rules' FROM pg_rewrite WHERE ev_class = %(table)s::regclass
UNION ALL SELECT 'a publication' FROM pg_publication_rel WHERE prrelid = %(table)s::regclass
UNION ALL SELECT 'a parent table' FROM pg_inherits WHERE inhrelid = %(table)s::regclass
"""


class CannotPartition(Exception):
    """The tables cannot be rebuilt; the message says why, one reason on each line. Nothing was changed."""


def count_partitions(table: str) -> int:
    """Return the number of a table's partitions; 0 for a plain table."""
    return fetch("SELECT count(*) FROM pg_inherits WHERE inhparent = %(table)s::regclass", table=table)[0][0]


def describe_size(table: str) -> str:
    """Return rows and size of a table and its partitions, with indexes: "1,234 rows, 5 MB"."""
    rows = fetch(f"SELECT count(*) FROM {table}")[0][0]
    return f"{rows:,} rows, {fetch(SELECT_SIZE_SQL, table=table)[0][0]}"


def find_obstacles(tables: Iterable[str]) -> list[str]:
    """Return why the tables cannot be partitioned by this role, one sentence each."""
    return [obstacle for table in tables for obstacle in find_obstacles_of_table(table)]


def find_obstacles_of_table(table: str) -> Iterator[str]:
    if not fetch(SELECT_PRIVILEGES_SQL, table=table)[0][0]:
        yield f"The role of DATABASE_URL does not own {table}, or may not create tables beside it."
    for (index,) in fetch(SELECT_UNKEYED_SQL, table=table, column=NAMESPACE_COLUMN):
        yield f"{index} on {table} is unique without {NAMESPACE_COLUMN}."
    if table in list_distributed_tables():
        yield f"{table} is distributed by Citus, which has no partitions of its own."
    for (feature,) in fetch(SELECT_UNSUPPORTED_SQL, table=table):
        yield f"{table} has {feature}, which would be lost."


def partition_tables(names: Sequence[str], partitions: int) -> Iterator[tuple[int, int]]:
    """Rebuild the tables with so many hash partitions by namespace, 0 for plain tables. Yield (work done, all work).

    Must run in a transaction, and to its end. Raises CannotPartition.
    """
    lock_tables(names)
    if obstacles := find_obstacles(names):
        raise CannotPartition("\n".join(obstacles))
    tables = [read_table(name) for name in names]
    done, total = 0, sum(measure_work(table) for table in tables)
    yield done, total
    for work in rebuild(tables, partitions):
        done += work
        yield done, total


def measure_work(table: Table) -> int:
    return table.rows * (1 + sum(WORK_OF_INDEX.get(index.method, 1) for index in table.indexes))


def lock_tables(names: Sequence[str]) -> None:
    """Keep everybody else from the tables until the transaction ends. Raises CannotPartition if they are in use."""
    execute(*(f"SET LOCAL {name} = '{value}'" for name, value in SETTINGS.items()))
    try:
        with transaction.atomic():
            execute(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE")
    except OperationalError as error:
        raise CannotPartition(
            f"The tables were in use for {LOCK_WAIT_SECONDS} seconds: stop the site first, its workers too."
        ) from error


def rebuild(tables: Sequence[Table], partitions: int) -> Iterator[int]:
    """Rebuild locked tables. Yield the work of each step."""
    names = [table.name for table in tables]
    keys, functions, views = read_foreign_keys(names), read_functions(names), read_views(names)
    detach(keys, functions, views)
    for table in tables:
        yield from rebuild_table(table, partitions)
    execute(*(f"ALTER TABLE {owner} ADD CONSTRAINT {name} {definition}" for owner, name, definition in keys))
    execute(*(definition for _, definition in functions))
    for view in views:
        create_view(view)


def detach(keys: Sequence[tuple], functions: Sequence[tuple], views: Sequence[View]) -> None:
    """Drop what would keep the old tables from being dropped."""
    execute(*(f"DROP {view.kind} {view.name}" for view in reversed(views)))
    execute(*(f"DROP FUNCTION {signature}" for signature, _ in functions))
    execute(*(f"ALTER TABLE {owner} DROP CONSTRAINT {name}" for owner, name, _ in keys))


def create_view(view: View) -> None:
    execute(f"CREATE {view.kind} {view.name} AS {view.query}", *view.indexes, *view.grants)


def rebuild_table(old: Table, partitions: int) -> Iterator[int]:
    draft, endings = shorten(old.name, "_draft"), [f"_{number}of{partitions}" for number in range(partitions)]
    leaves = {shorten(old.name, ending): ending for ending in endings}
    create_table(old, draft, list(leaves))
    yield from copy_rows(old, draft)
    sequences = [(column.name, *read_sequence(old.name, column.name)) for column in old.columns if column.identity]
    execute(f"DROP TABLE {old.name}", f"ALTER TABLE {draft} RENAME TO {old.name}")
    for column, value, is_called in sequences:
        restore_sequence(old.name, column, value, is_called)
    yield from build_indexes(old, leaves)
    restore_attributes(old, list(leaves))


def create_table(old: Table, name: str, leaves: Sequence[str]) -> None:
    """Create an empty table like the old one, with these partitions."""
    parts = ", ".join([*(column.definition for column in old.columns), *old.checks])
    division = f" PARTITION BY HASH ({NAMESPACE_COLUMN})" if leaves else ""
    execute(f"CREATE TABLE {name} ({parts}){division}")
    for number, leaf in enumerate(leaves):
        bounds = f"WITH (MODULUS {len(leaves)}, REMAINDER {number})"
        execute(f"CREATE TABLE {leaf} PARTITION OF {name} FOR VALUES {bounds}")
    for table in leaves or [name]:
        execute(*(f"ALTER TABLE {table} SET ({option})" for option in old.storage))
    for table in [name, *leaves]:
        execute(*(f"ALTER TABLE {table} ALTER {c.name} {setting}" for c in old.columns for setting in c.settings))


def copy_rows(old: Table, name: str) -> Iterator[int]:
    columns = old.stored_columns
    for leaf in old.leaves:
        blocks = fetch("SELECT pg_relation_size(%(leaf)s::regclass) / current_setting('block_size')::int", leaf=leaf)
        for start in range(0, blocks[0][0], BLOCKS_PER_COPY):
            yield execute(
                f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {leaf} "
                f"WHERE ctid >= '({start},0)' AND ctid < '({start + BLOCKS_PER_COPY},0)'"
            )


def read_sequence(table: str, column: str) -> tuple[int, bool]:
    (name,) = fetch("SELECT pg_get_serial_sequence(%(table)s, %(column)s)", table=table, column=column)[0]
    return fetch(f"SELECT last_value, is_called FROM {name}")[0]


def restore_sequence(table: str, column: str, value: int, is_called: bool) -> None:
    parameters = {"table": table, "column": column, "value": value, "is_called": is_called}
    (draft,) = fetch("SELECT pg_get_serial_sequence(%(table)s, %(column)s)", **parameters)[0]
    execute(f"ALTER SEQUENCE {draft} RENAME TO {shorten(f'{table}_{column}', '_seq')}")
    fetch("SELECT setval(pg_get_serial_sequence(%(table)s, %(column)s), %(value)s, %(is_called)s)", **parameters)


def build_indexes(old: Table, leaves: Mapping[str, str]) -> Iterator[int]:
    """Build each index on each partition, then on the table, which takes those as its own without work.

    `leaves` are the partitions' names with the endings of their indexes' names.
    """
    rows = {leaf: fetch(f"SELECT count(*) FROM {leaf}")[0][0] for leaf in leaves}
    for index in old.indexes:
        for leaf, ending in leaves.items():
            create_index(index, leaf, shorten(index.name, ending))
            yield rows[leaf] * WORK_OF_INDEX.get(index.method, 1)
        create_index(index, old.name, index.name)
        if not leaves:
            yield old.rows * WORK_OF_INDEX.get(index.method, 1)


def create_index(index: Index, table: str, name: str) -> None:
    if index.constraint:
        execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {index.constraint}')
    else:
        execute(f'CREATE {"UNIQUE " if index.unique else ""}INDEX "{name}" ON {table} {index.body}')


def restore_attributes(old: Table, leaves: Sequence[str]) -> None:
    """Restore triggers, extended statistics, owner, privileges and comments, and collect statistics."""
    states = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
    execute(*old.statistics, *(definition for _, definition, _ in old.triggers))
    execute(*(f"ALTER TABLE {old.name} {states[s]} TRIGGER {name}" for name, _, s in old.triggers if s in states))
    execute(*(f"ALTER TABLE {table} OWNER TO {old.owner}" for table in [old.name, *leaves]))
    if old.has_grants:
        execute(f"REVOKE ALL ON {old.name} FROM PUBLIC, {old.owner}", *old.grants)
    comments = [(f"TABLE {old.name}", old.comment), *((f"COLUMN {old.name}.{c.name}", c.comment) for c in old.columns)]
    execute(*(f"COMMENT ON {what} IS {quote(text)}" for what, text in comments if text is not None))
    execute(f"ANALYZE {old.name}")


def shorten(name: str, ending: str) -> str:
    """Return the name with the ending, within PostgreSQL's length of names."""
    return name[: MAX_NAME_LENGTH - len(ending)] + ending


def quote(text: str) -> str:
    return "E'{}'".format(text.replace("\\", "\\\\").replace("'", "''"))


def execute(*statements: str) -> int:
    """Execute statements without parameters. Return how many rows the last one concerned."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.rowcount if statements else 0
