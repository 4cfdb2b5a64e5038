"""Where Session-Buddy keeps what. An older file has tables for each collection, a newer one has `_v2` tables with more
columns, of a collection or of all together. Of either what is known is read, and the rest is left alone."""

import re
from collections.abc import Collection as Names
from dataclasses import dataclass, replace
from typing import Literal

from duckdb import DuckDBPyConnection

from memories.insights.models import InsightCollection

Layout = Literal["v1", "v2"]
REFLECTIONS, CONVERSATIONS = "reflections", "conversations"
TABLE_NAME_PATTERN = re.compile(rf"(?:(?P<collection>\w+?)_)?(?P<kind>{REFLECTIONS}|{CONVERSATIONS})(?P<newer>_v2)?")
#: What Session-Buddy's collections are called in the files of Mahavishnu.
COLLECTION_NAMES = {InsightCollection.PROJECT: "mahavishnu_project", InsightCollection.GLOBAL: "mahavishnu_global"}
#: And where nobody has named one; a newer table may be of all together.
DEFAULT_COLLECTION, COMBINED_COLLECTION = "default", ""
#: Numbers in a vector of a file.
VECTOR_DIMENSIONS = 384
# Base tables only: a view is a query of whoever made the file.
SELECT_TABLES_SQL = """
SELECT table_name, list(column_name)
FROM duckdb_columns() JOIN duckdb_tables() kept USING (database_oid, table_oid, table_name)
WHERE kept.database_name = current_database() AND kept.schema_name = 'main' GROUP BY table_name ORDER BY table_name
"""
INSIGHT_COLUMNS = {
    "insight_type": "VARCHAR",
    "usage_count": "INTEGER DEFAULT 0",
    "last_used_at": "TIMESTAMP",
    "confidence_score": "REAL DEFAULT 0.5",
}
#: Reflections as each layout has them; what is told of an insight besides stands in both.
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
    #: Empty where it is of no collection.
    collection: str
    layout: Layout
    columns: frozenset[str]

    @property
    def reach(self) -> InsightCollection:
        """How far its insights reach, by the name of its collection."""
        return (
            InsightCollection.GLOBAL
            if self.collection.endswith(InsightCollection.GLOBAL)
            else InsightCollection.PROJECT
        )


def find_tables(file: DuckDBPyConnection) -> list[Table]:
    """Those of Session-Buddy, conversations first: what was learned names where."""
    found = []
    for name, columns in file.execute(SELECT_TABLES_SQL).fetchall():
        match = TABLE_NAME_PATTERN.fullmatch(name)
        if match and {"id", "content"} <= set(columns):
            collection, kind, newer = match["collection"] or "", match["kind"], match["newer"]
            found.append(Table(name, kind, collection, "v2" if newer else "v1", frozenset(columns)))
    return sorted(found, key=lambda table: (table.kind, table.name))


def select_tables(found: list[Table], collections: Names[str]) -> list[Table]:
    """The tables of these collections; without any those of Mahavishnu's, of the one nobody named, and of all
    together."""
    names = collections or {*COLLECTION_NAMES.values(), DEFAULT_COLLECTION, COMBINED_COLLECTION}
    return [table for table in found if table.collection in names]


def choose_target_table(found: list[Table], reach: InsightCollection, layout: Layout) -> Table:
    """Where insights of this reach are written: a table that is there, of the layout asked for if there are both, or
    else the one to be made."""
    names = (COLLECTION_NAMES[reach], DEFAULT_COLLECTION, COMBINED_COLLECTION)  # its own table before others
    fitting = [each for each in found if each.kind == REFLECTIONS and each.collection in names]
    # An old one of all collections belongs to releases before either layout.
    fitting = [each for each in fitting if each.collection or each.layout == "v2"]
    fitting.sort(key=lambda each: (each.layout != layout, names.index(each.collection)))
    return fitting[0] if fitting else define_new_table(reach, get_newest_layout(found) or layout)


def get_newest_layout(found: list[Table]) -> Layout | None:
    """The newest that the file has."""
    return max((each.layout for each in found), default=None)


def define_new_table(reach: InsightCollection, layout: Layout) -> Table:
    """Session-Buddy's own name for it: of the newer layout it makes one for all collections."""
    collection = COLLECTION_NAMES[reach] if layout == "v1" else ""
    name = f"{collection}_{REFLECTIONS}" if layout == "v1" else f"{REFLECTIONS}_v2"
    return Table(name, REFLECTIONS, collection, layout, frozenset([*REFLECTION_COLUMNS[layout], *INSIGHT_COLUMNS]))


def with_missing_columns(table: Table) -> Table:
    """With columns for all that an insight has. Session-Buddy names the columns it asks for: more do it no harm."""
    return replace(table, columns=table.columns | {*get_missing_columns(table)})


def create_or_alter_table(file: DuckDBPyConnection, table: Table, there: Table | None) -> None:
    """Make the table, or what it lacks of the columns."""
    columns = {**REFLECTION_COLUMNS[table.layout], **INSIGHT_COLUMNS}
    if there is None:
        spelled = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        file.execute(f"CREATE TABLE {quote_identifier(table.name)} ({spelled})")
        return
    for name in get_missing_columns(there):
        # Without a default, which would be said of every row that is there.
        file.execute(f"ALTER TABLE {quote_identifier(table.name)} ADD COLUMN {name} {columns[name].split()[0]}")


def get_missing_columns(table: Table) -> list[str]:
    return [name for name in ("metadata", "tags", *INSIGHT_COLUMNS) if name not in table.columns]


def quote_identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
