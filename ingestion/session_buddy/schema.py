"""The tables of a Session-Buddy file.

The older layout (v1) has tables for each collection; the newer one (v2) has `_v2` tables with more columns, for one
collection or for all. Unknown tables and columns are ignored.
"""

import re
from collections.abc import Collection as Names
from dataclasses import dataclass, replace
from typing import Literal

from duckdb import DuckDBPyConnection

from memories.insights.models import InsightCollection

Layout = Literal["v1", "v2"]
REFLECTIONS, CONVERSATIONS = "reflections", "conversations"
TABLE_NAME_PATTERN = re.compile(rf"(?:(?P<collection>\w+?)_)?(?P<kind>{REFLECTIONS}|{CONVERSATIONS})(?P<newer>_v2)?")
#: The collection names of Mahavishnu, a client of Session-Buddy.
COLLECTION_NAMES = {InsightCollection.PROJECT: "mahavishnu_project", InsightCollection.GLOBAL: "mahavishnu_global"}
#: The name where none was configured, and that of a v2 table with all collections.
DEFAULT_COLLECTION, COMBINED_COLLECTION = "default", ""
#: Dimensions of a vector in a file.
VECTOR_DIMENSIONS = 384
# Base tables only: a view is a query by the author of the file, which is untrusted.
SELECT_TABLES_SQL = """
SELECT table_name, list(column_name)
FROM duckdb_columns()
JOIN duckdb_tables() base_table USING (database_oid, table_oid, table_name)
WHERE base_table.database_name = current_database() AND base_table.schema_name = 'main'
GROUP BY table_name ORDER BY table_name
"""
INSIGHT_COLUMNS = {
    "insight_type": "VARCHAR",
    "usage_count": "INTEGER DEFAULT 0",
    "last_used_at": "TIMESTAMP",
    "confidence_score": "REAL DEFAULT 0.5",
}
#: Columns of a table of reflections by layout; both also have INSIGHT_COLUMNS.
REFLECTION_COLUMNS = {
    "v1": {
        "id": "VARCHAR PRIMARY KEY",
        "conversation_id": "VARCHAR",
        "content": "VARCHAR NOT NULL",
        "tags": "VARCHAR[]",
        "metadata": "JSON",
        "created_at": "TIMESTAMP NOT NULL",
        "updated_at": "TIMESTAMP NOT NULL",
        "embedding": f"FLOAT[{VECTOR_DIMENSIONS}]",
    },
    "v2": {
        "id": "VARCHAR PRIMARY KEY",
        "content": "VARCHAR NOT NULL",
        "embedding": f"FLOAT[{VECTOR_DIMENSIONS}]",
        "category": "VARCHAR NOT NULL DEFAULT 'context'",
        "importance_score": "REAL DEFAULT 0.5",
        "memory_tier": "VARCHAR DEFAULT 'long_term'",
        "tags": "VARCHAR[]",
        "related_entities": "VARCHAR[]",
        "timestamp": "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
        "project": "VARCHAR",
        "namespace": "VARCHAR DEFAULT 'default'",
        "access_count": "INTEGER DEFAULT 0",
        "last_accessed": "TIMESTAMP",
        "created_at": "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
        "updated_at": "TIMESTAMP",
        "fingerprint": "BLOB",
        "subcategory": "VARCHAR",
        "metadata": "JSON",
        "conversation_id": "VARCHAR",
    },
}


@dataclass(frozen=True)
class Table:
    name: str
    kind: str
    #: Empty for a table of all collections.
    collection: str
    layout: Layout
    columns: frozenset[str]

    @property
    def reach(self) -> InsightCollection:
        """Return the collection of its insights by the name of the table's collection."""
        return (
            InsightCollection.GLOBAL
            if self.collection.endswith(InsightCollection.GLOBAL)
            else InsightCollection.PROJECT
        )


def find_tables(file: DuckDBPyConnection) -> list[Table]:
    """Return Session-Buddy's tables, conversations first, since insights refer to them."""
    tables = []
    for name, columns in file.execute(SELECT_TABLES_SQL).fetchall():
        match = TABLE_NAME_PATTERN.fullmatch(name)
        if match and {"id", "content"} <= set(columns):
            collection, kind, newer = match["collection"] or "", match["kind"], match["newer"]
            tables.append(Table(name, kind, collection, "v2" if newer else "v1", frozenset(columns)))
    return sorted(tables, key=lambda table: (table.kind, table.name))


def select_tables(tables: list[Table], collections: Names[str]) -> list[Table]:
    """Return the tables of these collections; by default Mahavishnu's, `default`, and tables of all collections."""
    names = collections or {*COLLECTION_NAMES.values(), DEFAULT_COLLECTION, COMBINED_COLLECTION}
    return [table for table in tables if table.collection in names]


def choose_target_table(tables: list[Table], reach: InsightCollection, layout: Layout) -> Table:
    """Return the table for insights of this collection: an existing one, preferably of the layout, or a new one."""
    names = (COLLECTION_NAMES[reach], DEFAULT_COLLECTION, COMBINED_COLLECTION)  # in order of preference
    candidates = [each for each in tables if each.kind == REFLECTIONS and each.collection in names]
    # A v1 table without a collection belongs to releases before both layouts.
    candidates = [each for each in candidates if each.collection or each.layout == "v2"]
    candidates.sort(key=lambda each: (each.layout != layout, names.index(each.collection)))
    return candidates[0] if candidates else define_new_table(reach, get_newest_layout(tables) or layout)


def get_newest_layout(tables: list[Table]) -> Layout | None:
    return max((each.layout for each in tables), default=None)


def define_new_table(reach: InsightCollection, layout: Layout) -> Table:
    """Define a table named as by Session-Buddy, which has one for all collections in the newer layout."""
    collection = COLLECTION_NAMES[reach] if layout == "v1" else ""
    name = f"{collection}_{REFLECTIONS}" if layout == "v1" else f"{REFLECTIONS}_v2"
    return Table(name, REFLECTIONS, collection, layout, frozenset([*REFLECTION_COLUMNS[layout], *INSIGHT_COLUMNS]))


def with_missing_columns(table: Table) -> Table:
    """Add the columns of an insight. Session-Buddy selects columns by name, so additional ones do no harm."""
    return replace(table, columns=table.columns | {*get_missing_columns(table)})


def create_or_alter_table(file: DuckDBPyConnection, table: Table, existing: Table | None) -> None:
    """Create the table, or add the missing columns of an existing one."""
    columns = {**REFLECTION_COLUMNS[table.layout], **INSIGHT_COLUMNS}
    if existing is None:
        definitions = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        file.execute(f"CREATE TABLE {quote_identifier(table.name)} ({definitions})")
        return
    for name in get_missing_columns(existing):
        # Without a default, which would set the value of every existing row.
        file.execute(f"ALTER TABLE {quote_identifier(table.name)} ADD COLUMN {name} {columns[name].split()[0]}")


def get_missing_columns(table: Table) -> list[str]:
    return [name for name in ("metadata", "tags", *INSIGHT_COLUMNS) if name not in table.columns]


def quote_identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
