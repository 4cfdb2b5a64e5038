"""What keeps a database from being distributed by Citus. Reads only."""

from collections.abc import Iterator

from memory_site.core.db.cluster import (
    NodeFailed,
    fetch,
    is_citus,
    list_distributed_tables,
    list_nodes,
    run_everywhere,
)
from memory_site.core.db.divided import list_divided_tables
from memory_site.operations.distribution.partitions import count_partitions, find_obstacles_of_table
from memory_site.operations.health.migrations import count_missing_migrations

#: The oldest version that the tables were distributed with.
MIN_CITUS_VERSION = (14, 0)
#: What must be the same on every node, as the SQL that says it.
VERSIONS = {
    "PostgreSQL": "SELECT current_setting('server_version_num')::int / 10000",
    "Citus": "SELECT extversion FROM pg_extension WHERE extname = 'citus'",
    "pgvector": "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'",
}
NO_EXTENSION = (
    "This database has no Citus. Install it on every server, add citus to shared_preload_libraries, and run CREATE "
    "EXTENSION citus in this database and in the one of the same name of each worker."
)
NO_COORDINATOR = "The coordinator does not know its own address: SELECT citus_set_coordinator_host('<host>', <port>)."
NO_WORKERS = "The cluster has no worker: SELECT citus_add_node('<host>', <port>) on the coordinator."


def find_cluster_obstacles() -> list[str]:
    """Return why the tables cannot be distributed, one sentence each."""
    if not is_citus():
        return [NO_EXTENSION]
    return [*check_coordinator(), *check_nodes(), *check_tables()]


def check_coordinator() -> Iterator[str]:
    (version,) = fetch("SELECT extversion FROM pg_extension WHERE extname = 'citus'")[0]
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < MIN_CITUS_VERSION:
        yield f"Citus is {version}; {'.'.join(map(str, MIN_CITUS_VERSION))} is the oldest that was tried."
    if not fetch("SELECT citus_is_coordinator()")[0][0]:
        yield "DATABASE_URL names a worker; it must name the coordinator."


def check_nodes() -> Iterator[str]:
    nodes = list_nodes()
    if not any(node.is_coordinator for node in nodes):
        yield NO_COORDINATOR
    if not any(node.has_shards for node in nodes):
        yield NO_WORKERS
    away = [node.address for node in nodes if not node.answers]
    yield from (f"The node {address} does not answer." for address in away)
    if nodes and not away:
        yield from check_versions()


def check_versions() -> Iterator[str]:
    for name, statement in VERSIONS.items():
        try:
            found = run_everywhere(statement)
        except NodeFailed as error:
            yield f"{name} is missing on {error}."
            continue
        if len(set(found.values())) > 1:
            yield f"{name} differs: {', '.join(f'{node} has {version}' for node, version in found.items())}."


def check_tables() -> Iterator[str]:
    if missing := count_missing_migrations():
        yield f"{missing} migrations are missing: python manage.py migrate."
        return
    for table in sorted(set(list_divided_tables()) - list_distributed_tables()):
        if count_partitions(table):
            yield f"{table} has partitions, which Citus cannot distribute: python manage.py distribute --partitions 0."
        else:
            yield from find_obstacles_of_table(table)
