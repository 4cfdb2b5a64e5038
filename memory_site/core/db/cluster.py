"""What a Citus cluster says of itself: its nodes, and on which of them the namespaces are."""

import re
from dataclasses import dataclass
from typing import Any

from django.db import connection

#: The table by whose shards a namespace is placed. All divided tables are placed like it.
PLACED_TABLE = "memories_memory"
IS_CITUS_SQL = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
LIST_DISTRIBUTED_SQL = "SELECT logicalrelid::regclass::text FROM pg_dist_partition WHERE partmethod = 'h'"
# Its timeout bounds each attempt, so that a node that does not answer is found out soon.
LIST_NODES_SQL = """
SELECT nodename, nodeport, groupid = 0, shouldhaveshards, citus_check_connection_to_node(nodename, nodeport),
       coalesce(namespaces, 0)
FROM pg_dist_node LEFT JOIN (
    SELECT groupid, count(*) AS namespaces FROM sessions_app_namespace space
    JOIN pg_dist_placement ON shardid = get_shard_id_for_distribution_column(%(table)s, space.id)
    GROUP BY groupid
) placed USING (groupid)
WHERE isactive AND noderole = 'primary' ORDER BY groupid
"""
LIST_NODES_UNPLACED_SQL = """
SELECT nodename, nodeport, groupid = 0, shouldhaveshards, citus_check_connection_to_node(nodename, nodeport), 0
FROM pg_dist_node WHERE isactive AND noderole = 'primary' ORDER BY groupid
"""
RUN_EVERYWHERE_SQL = """
SELECT nodename || ':' || nodeport, success, result
FROM run_command_on_all_nodes(%(command)s) JOIN pg_dist_node USING (nodeid) ORDER BY groupid
"""
#: What Citus says when it reaches no copy of a shard, with an SQLSTATE of its own faults (XX000).
NODE_AWAY = re.compile(
    r"failure on connection marked as essential|connection to the remote node|could not (establish any )?connect"
)


@dataclass(frozen=True)
class Node:
    """A server of the cluster. `has_shards` says whether it stores namespaces."""

    host: str
    port: int
    is_coordinator: bool
    has_shards: bool
    answers: bool
    namespaces: int

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


class NodeFailed(Exception):
    """A statement failed on a node; the message names it."""


def is_citus() -> bool:
    """Return whether this database has the extension."""
    return fetch(IS_CITUS_SQL)[0][0]


def list_distributed_tables() -> set[str]:
    """Return the tables that are distributed; none without Citus."""
    return {name for (name,) in fetch(LIST_DISTRIBUTED_SQL)} if is_citus() else set()


def is_distributed() -> bool:
    return PLACED_TABLE in list_distributed_tables()


def list_nodes() -> list[Node]:
    """Return the nodes, the coordinator first, after an attempt to connect to each."""
    return [
        Node(*row) for row in fetch(LIST_NODES_SQL if is_distributed() else LIST_NODES_UNPLACED_SQL, table=PLACED_TABLE)
    ]


def find_first_namespace() -> int | None:
    """Return the id of the namespace whose name comes first."""
    rows = fetch("SELECT id FROM sessions_app_namespace ORDER BY name LIMIT 1")
    return rows[0][0] if rows else None


def run_everywhere(command: str) -> dict[str, str]:
    """Run a statement on every node, the coordinator too. Return each node's answer. Raises NodeFailed."""
    rows = fetch(RUN_EVERYWHERE_SQL, command=command)
    if failures := [f"{node}: {result}" for node, success, result in rows if not success]:
        raise NodeFailed("; ".join(failures))
    return {node: result for node, _, result in rows}


def is_node_away(error: Exception) -> bool:
    """Return whether a statement failed because a node of the cluster does not answer."""
    return NODE_AWAY.search(str(error)) is not None


def fetch(statement: str, **parameters: Any) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()
