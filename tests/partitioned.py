"""The tables of namespaces in hash partitions, within the transaction of a test, and which of them statements touch.

What a statement may read is in its plan; what it read indeed, triggers and functions included, is in the statistics of
the transaction.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import connection

from memory_site.core.db.divided import list_divided_tables
from memory_site.operations.distribution.partitions import partition_tables

PARTITIONS = 2
PLANNED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
SELECT_TOUCHES_SQL = f"""
SELECT relname, seq_scan, idx_scan, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables
WHERE relname ~ '_[0-9]+of{PARTITIONS}$'
"""
SELECT_PARTITION_SQL = """
SELECT number FROM generate_series(0, %(all)s - 1) number
WHERE satisfies_hash_partition('memories_memory'::regclass, %(all)s, number, %(namespace)s::bigint)
"""


def divide_tables() -> None:
    for _ in partition_tables(list_divided_tables(), PARTITIONS):
        pass


def name_partition(namespace_id: int) -> str:
    """Return the ending of the names of the partitions that hold the namespace."""
    [(number,)] = fetch(SELECT_PARTITION_SQL, {"all": PARTITIONS, "namespace": namespace_id})
    return f"{number}of{PARTITIONS}"


def fetch(sql: str, parameters: Any = None) -> list[tuple]:
    """Execute without the wrappers of Django's cursor."""
    with connection.connection.cursor() as cursor:
        return cursor.execute(sql, parameters).fetchall()


@dataclass
class Touched:
    """What the `statements` of a block touch. `crossing` are those whose plan has several partitions of a table, by
    their text; `partitions` are the endings of those that were read or written, with the tables."""

    statements: list[str] = field(default_factory=list)
    crossing: dict[str, list[str]] = field(default_factory=dict)
    partitions: dict[str, set[str]] = field(default_factory=dict)

    def list_tables_elsewhere(self, namespace_id: int) -> set[str]:
        """Return the tables of which a partition was touched that does not hold the namespace."""
        own = name_partition(namespace_id)
        return {table for ending, tables in self.partitions.items() if ending != own for table in tables}


@contextmanager
def observe(plans: dict[str, list[str]]) -> Iterator[Touched]:
    """Observe the block's statements. `plans` keeps the tables that a statement crosses, by the text of those that were
    explained before."""
    touched, before = Touched(), count_touches()
    with connection.execute_wrapper(partial(explain_new, touched, plans)):
        yield touched
    for partition, counts in count_touches().items():
        if counts != before.get(partition):
            table, _, ending = partition.rpartition("_")
            touched.partitions.setdefault(ending, set()).add(table)


def count_touches() -> dict[str, tuple]:
    return {name: tuple(counts) for name, *counts in fetch(SELECT_TOUCHES_SQL)}


def explain_new(
    touched: Touched,
    plans: dict[str, list[str]],
    execute: Callable,
    sql: str,
    parameters: Any,
    many: bool,
    context: dict[str, Any],
) -> Any:
    touched.statements.append(sql)
    if sql.split(None, 1)[0].upper() in PLANNED:
        if sql not in plans:
            plans[sql] = list_crossed_tables(sql, parameters)
        if plans[sql]:
            touched.crossing[sql] = plans[sql]
    return execute(sql, parameters, many, context)


def list_crossed_tables(sql: str, parameters: Any) -> list[str]:
    """Return the tables of which a statement's plan for these parameters has several partitions. It is not executed."""
    [(plan,)] = fetch(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
    plan = json.loads(plan) if isinstance(plan, str) else plan
    partitions = {name for name in iter_relations(plan[0]["Plan"]) if name.endswith(f"of{PARTITIONS}")}
    tables = [name.rpartition("_")[0] for name in partitions]
    return sorted({table for table in tables if tables.count(table) > 1})


def iter_relations(node: dict[str, Any]) -> Iterator[str]:
    if "Relation Name" in node:
        yield node["Relation Name"]
    for inner in (*node.get("Plans", ()), *node.get("Target Tables", ())):
        yield from iter_relations(inner)
