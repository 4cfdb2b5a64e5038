"""Distribute the tables by namespace over the nodes of a Citus cluster.

The order matters. A reference table that has foreign keys would make every table a local one of Citus, and triggers
would fire for each row that is copied. So both go first and come back last, all in one transaction: a run that ends
early changes nothing. A later run distributes the tables and functions that a release added.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from django.db import connection

from memory_site.core.db.cluster import PLACED_TABLE, fetch, list_distributed_tables
from memory_site.core.db.divided import list_divided_tables
from memory_site.core.db.server_settings import build_statements
from memory_site.operations.distribution.definitions import NAMESPACE_COLUMN, SELECT_TRIGGERS_SQL, read_foreign_keys

REFERENCE_TABLE = "sessions_app_namespace"
#: Stored with the role on every node, besides the settings of every site. Triggers are made and run on the shards.
#: Functions that a statement calls on a shard read tables too: of the same namespace, and so on the same node. A node
#: that does not answer is given up after three seconds.
CLUSTER_SETTINGS = {
    "citus.enable_unsafe_triggers": "on",
    "citus.allow_nested_distributed_execution": "on",
    "citus.multi_shard_modify_mode": "sequential",
    "citus.node_connection_timeout": "3000",
}
# In one transaction, what was done on one node may not be seen by parallel connections to another.
SESSION_SQL = """
SET LOCAL statement_timeout = 0;
SET LOCAL citus.enable_unsafe_triggers = on;
SET LOCAL citus.multi_shard_modify_mode = 'sequential'
"""
#: Functions that run as a whole on the node of the namespace, which is their argument `space`.
DELEGATED_FUNCTIONS = {
    "sessions_add_interactions",
    "sessions_fetch_context",
    "sessions_add_message",
    "sessions_end_conversation",
}
LIST_FUNCTIONS_SQL = """
SELECT pg_proc.oid::regprocedure::text, proname,
       coalesce(array_to_string(proconfig, ' '), '') LIKE '%%plan_cache_mode%%'
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname = current_schema() AND prokind = 'f'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
ORDER BY 1
"""
# For each ON DELETE SET NULL, which Citus refuses where the namespace is part of the key.
SET_NULL_SQL = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    space bigint;
    ids uuid[];
BEGIN
    FOR space, ids IN SELECT namespace_id, array_agg(id) FROM removed GROUP BY namespace_id LOOP
        {updates}
    END LOOP;
    RETURN NULL;
END $$
"""
SET_NULL_UPDATE_SQL = "UPDATE {table} SET {column} = NULL WHERE namespace_id = space AND {column} = ANY (ids);"
CREATE_TRIGGER_SQL = """
CREATE TRIGGER {name} AFTER DELETE ON {table} REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION {name}()
"""


@dataclass(frozen=True)
class ForeignKey:
    table: str
    name: str
    definition: str

    @property
    def sets_null(self) -> bool:
        return "ON DELETE SET NULL" in self.definition

    @property
    def target(self) -> str:
        return self.definition.partition(" REFERENCES ")[2].partition("(")[0]

    @property
    def column(self) -> str:
        """The column that is set to NULL: the one beside the namespace."""
        names = self.definition.partition("(")[2].partition(")")[0].split(", ")
        return next(name for name in names if name != NAMESPACE_COLUMN)


def count_rows(tables: Iterable[str]) -> dict[str, int]:
    return {table: fetch(f"SELECT count(*) FROM {table}")[0][0] for table in tables}


def list_tables_to_distribute() -> list[str]:
    """Return the divided tables that are not distributed yet; the one that places the namespaces first."""
    missing = set(list_divided_tables()) - list_distributed_tables()
    return sorted(missing, key=lambda table: (table != PLACED_TABLE, table))


def store_cluster_settings(settings: Mapping[str, str]) -> None:
    """Store settings with the role: what a connection sets does not reach the workers, but Citus repeats this on every
    node."""
    execute(*build_statements(connection, {**settings, **CLUSTER_SETTINGS}))


def distribute_tables(tables: list[str]) -> Iterator[str]:
    """Distribute the tables and all functions. Yield each table when it is done.

    Must run in a transaction, and to its end.
    """
    execute(SESSION_SQL)
    keys = [ForeignKey(*row) for row in read_foreign_keys([*tables, REFERENCE_TABLE])] if tables else []
    triggers = [(table, *row[:2]) for table in tables for row in fetch(SELECT_TRIGGERS_SQL, table=table)]
    execute(*(f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}" for key in keys))
    execute(*(f"DROP TRIGGER {name} ON {table}" for table, name, _ in triggers))
    make_reference_table()
    for table in tables:
        colocate = "" if table == PLACED_TABLE else f", colocate_with => '{PLACED_TABLE}'"
        execute(
            f"SELECT create_distributed_table('{table}', '{NAMESPACE_COLUMN}'{colocate})",
            f"SELECT truncate_local_data_after_distributing_table('{table}')",  # the coordinator's copy of the rows
        )
        yield table
    distribute_functions()
    execute(*(definition for *_, definition in triggers))
    replace_set_null([key for key in keys if key.sets_null])
    execute(*(f"ALTER TABLE {k.table} ADD CONSTRAINT {k.name} {k.definition}" for k in keys if not k.sets_null))


def make_reference_table() -> None:
    if not fetch("SELECT FROM pg_dist_partition WHERE logicalrelid = %(table)s::regclass", table=REFERENCE_TABLE):
        execute(f"SELECT create_reference_table('{REFERENCE_TABLE}')")


def distribute_functions() -> None:
    """Make every function of ours on every node. Their plans are made for each call: one that is cached knows no
    namespace, and Citus finds no node for it."""
    for signature, name, caches_plans in fetch(LIST_FUNCTIONS_SQL):
        if caches_plans:
            execute(f"ALTER FUNCTION {signature} RESET plan_cache_mode")
        delegation = f", 'space', colocate_with => '{PLACED_TABLE}'" if name in DELEGATED_FUNCTIONS else ""
        execute(f"SELECT create_distributed_function('{signature}'{delegation})")


def replace_set_null(keys: list[ForeignKey]) -> None:
    """Create for each table that such keys refer to one trigger that does what they did."""
    for target, referring in groupby(sorted(keys, key=lambda key: key.target), lambda key: key.target):
        name = f"{target}_set_null"
        updates = "\n        ".join(SET_NULL_UPDATE_SQL.format(table=k.table, column=k.column) for k in referring)
        execute(SET_NULL_SQL.format(name=name, updates=updates))
        execute(f"SELECT create_distributed_function('{name}()')", CREATE_TRIGGER_SQL.format(name=name, table=target))


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
