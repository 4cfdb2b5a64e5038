"""Everything that PostgreSQL's catalogs say of a table, as the statements that make it again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

#: The column that divides a table. It becomes the first one.
NAMESPACE_COLUMN = "namespace_id"

# {default} has its three forms: GENERATED … STORED, an identity with the options of its sequence, and DEFAULT.
SELECT_COLUMNS_SQL = """
SELECT quote_ident(attname), attgenerated::text, attidentity::text,
       concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod),
           CASE WHEN attcollation NOT IN (0, typcollation) THEN 'COLLATE ' || attcollation::regcollation END,
           CASE WHEN attgenerated = 's' THEN format('GENERATED ALWAYS AS (%%s) STORED', expression)
                WHEN attgenerated = 'v' THEN format('GENERATED ALWAYS AS (%%s) VIRTUAL', expression)
                WHEN attidentity <> '' THEN format(
                    'GENERATED %%s AS IDENTITY (START %%s INCREMENT %%s MINVALUE %%s MAXVALUE %%s CACHE %%s %%s)',
                    CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,
                    seqstart, seqincrement, seqmin, seqmax, seqcache,
                    CASE WHEN seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)
                WHEN expression IS NOT NULL THEN 'DEFAULT ' || expression END,
           CASE WHEN attnotnull THEN 'NOT NULL' END),
       array_remove(ARRAY[
           CASE WHEN attstorage <> typstorage THEN 'SET STORAGE ' || CASE attstorage
               WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'x' THEN 'EXTENDED' ELSE 'MAIN' END END,
           CASE attcompression WHEN 'p' THEN 'SET COMPRESSION pglz' WHEN 'l' THEN 'SET COMPRESSION lz4' END,
           CASE WHEN attstattarget >= 0 THEN 'SET STATISTICS ' || attstattarget END,
           CASE WHEN attoptions IS NOT NULL THEN format('SET (%%s)', array_to_string(attoptions, ', ')) END], NULL),
       col_description(attrelid, attnum)
FROM pg_attribute
JOIN pg_type ON pg_type.oid = atttypid
LEFT JOIN (SELECT adrelid, adnum, pg_get_expr(adbin, adrelid) AS expression FROM pg_attrdef) defaults
    ON adrelid = attrelid AND adnum = attnum
LEFT JOIN pg_sequence ON attidentity <> '' AND seqrelid = pg_get_serial_sequence(%(table)s, attname)::regclass
WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attname <> %(column)s, attnum
"""
SELECT_CHECKS_SQL = """
SELECT format('CONSTRAINT %%I %%s', conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE conrelid = %(table)s::regclass AND contype = 'c' ORDER BY conname
"""
# The part of an index's definition from USING on is the same for the table and for each partition. The primary key
# comes after the others that a look-up by key might use: of equally cheap indexes, as in an empty table, the planner
# takes the newest.
SELECT_INDEXES_SQL = """
SELECT relname, amname, indisunique,
       substr(pg_get_indexdef(indexrelid), strpos(pg_get_indexdef(indexrelid), ' USING ' || amname) + 1),
       pg_get_constraintdef(pg_constraint.oid)
FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid
JOIN pg_am ON pg_am.oid = relam
LEFT JOIN pg_constraint ON conindid = indexrelid AND conrelid = indrelid AND contype IN ('p', 'u', 'x')
WHERE indrelid = %(table)s::regclass AND (indisvalid OR relkind = 'I')
ORDER BY amname = 'hnsw', indisprimary, relname
"""
SELECT_TRIGGERS_SQL = """
SELECT quote_ident(tgname), pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
WHERE tgrelid = %(table)s::regclass AND NOT tgisinternal AND tgparentid = 0 ORDER BY tgname
"""
SELECT_STATISTICS_SQL = """
SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = %(table)s::regclass ORDER BY stxname
"""
SELECT_GRANTS_SQL = """
SELECT format('GRANT %%s%%s ON %%s TO %%s%%s', privilege_type, '(' || quote_ident(attname) || ')', %(table)s::text,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
FROM (
    SELECT NULL AS attname, relacl AS acl FROM pg_class WHERE oid = %(table)s::regclass
    UNION ALL SELECT attname, attacl FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attacl IS NOT NULL
) acls, aclexplode(acl)
"""
# The storage parameters stand at what stores rows: the table itself, or its partitions.
SELECT_TABLE_SQL = """
SELECT quote_ident(relname), relowner::regrole::text, relacl IS NOT NULL, obj_description(pg_class.oid, 'pg_class'),
       coalesce((SELECT array_agg(inhrelid::regclass::text ORDER BY inhrelid) FROM pg_inherits
                 WHERE inhparent = pg_class.oid), '{}'),
       (SELECT reloptions FROM pg_class leaf WHERE leaf.oid = coalesce(
           (SELECT min(inhrelid::oid::bigint)::oid FROM pg_inherits WHERE inhparent = pg_class.oid), pg_class.oid))
FROM pg_class WHERE oid = %(table)s::regclass
"""
SELECT_FOREIGN_KEYS_SQL = """
SELECT DISTINCT conrelid::regclass::text, quote_ident(conname), replace(pg_get_constraintdef(oid), ' NOT VALID', '')
FROM pg_constraint
WHERE contype = 'f' AND conparentid = 0
  AND (conrelid = ANY (%(tables)s::regclass[]) OR confrelid = ANY (%(tables)s::regclass[]))
ORDER BY 1, 2
"""
# Views, and SQL functions whose body is parsed, belong to the table itself and not to its name. A view may stand on
# another one: the later has the greater oid.
SELECT_VIEWS_SQL = """
WITH RECURSIVE views (oid) AS (
    SELECT DISTINCT ev_class FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
    WHERE classid = 'pg_rewrite'::regclass AND refobjid = ANY (%(tables)s::regclass[]::oid[])
    UNION
    SELECT ev_class FROM views JOIN pg_depend ON refobjid = views.oid AND classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite ON pg_rewrite.oid = objid
)
SELECT pg_class.oid::regclass::text, CASE relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END,
       rtrim(pg_get_viewdef(pg_class.oid), ';'),
       ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = pg_class.oid ORDER BY indexrelid)
FROM views JOIN pg_class ON pg_class.oid = views.oid AND relkind IN ('v', 'm')
ORDER BY pg_class.oid
"""
SELECT_FUNCTIONS_SQL = """
SELECT DISTINCT objid::regprocedure::text, pg_get_functiondef(objid)
FROM pg_depend
WHERE classid = 'pg_proc'::regclass AND (refclassid, refobjid) IN (
    SELECT 'pg_class'::regclass::oid, unnest(%(tables)s::regclass[]::oid[])
    UNION ALL
    SELECT 'pg_type'::regclass::oid, unnest(ARRAY[pg_type.oid, typarray])
    FROM pg_class JOIN pg_type ON pg_type.oid = reltype WHERE pg_class.oid = ANY (%(tables)s::regclass[]::oid[])
)
"""


@dataclass(frozen=True)
class Column:
    name: str
    generated: str
    identity: str
    definition: str
    settings: Sequence[str]
    comment: str | None


@dataclass(frozen=True)
class Index:
    """An index, or the constraint of that name if it has a `constraint` definition."""

    name: str
    method: str
    unique: bool
    body: str
    constraint: str | None


@dataclass(frozen=True)
class View:
    name: str
    kind: str
    query: str
    indexes: Sequence[str]
    grants: Sequence[str]


@dataclass(frozen=True)
class Table:
    name: str
    owner: str
    has_grants: bool
    comment: str | None
    partitions: Sequence[str]
    storage: Sequence[str]
    columns: Sequence[Column]
    checks: Sequence[str]
    indexes: Sequence[Index]
    triggers: Sequence[tuple[str, str, str]]
    statistics: Sequence[str]
    grants: Sequence[str]
    rows: int

    @property
    def stored_columns(self) -> str:
        return ", ".join(column.name for column in self.columns if not column.generated)

    @property
    def leaves(self) -> Sequence[str]:
        """The tables that store the rows."""
        return self.partitions or [self.name]


def read_table(name: str) -> Table:
    quoted, owner, has_grants, comment, partitions, storage = fetch(SELECT_TABLE_SQL, table=name)[0]
    return Table(
        quoted,
        owner,
        has_grants,
        comment,
        partitions,
        storage=storage or [],
        columns=[Column(*row) for row in fetch(SELECT_COLUMNS_SQL, table=name, column=NAMESPACE_COLUMN)],
        checks=fetch_texts(SELECT_CHECKS_SQL, name),
        indexes=[Index(*row) for row in fetch(SELECT_INDEXES_SQL, table=name)],
        triggers=fetch(SELECT_TRIGGERS_SQL, table=name),
        statistics=fetch_texts(SELECT_STATISTICS_SQL, name),
        grants=fetch_texts(SELECT_GRANTS_SQL, name),
        rows=fetch(f"SELECT count(*) FROM {quoted}")[0][0],
    )


def read_foreign_keys(tables: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return (table, name, definition) of every foreign key from or to the tables."""
    return fetch(SELECT_FOREIGN_KEYS_SQL, tables=list(tables))


def read_views(tables: Sequence[str]) -> list[View]:
    """Return the views that read the tables, each after those it reads."""
    rows = fetch(SELECT_VIEWS_SQL, tables=list(tables))
    return [View(*row, fetch_texts(SELECT_GRANTS_SQL, row[0])) for row in rows]  # type: ignore[call-arg]


def read_functions(tables: Sequence[str]) -> list[tuple[str, str]]:
    """Return (signature, definition) of every function that depends on the tables or on the types of their rows."""
    return fetch(SELECT_FUNCTIONS_SQL, tables=list(tables))


def fetch(statement: str, **parameters: Any) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def fetch_texts(statement: str, table: str) -> list[str]:
    return [text for (text,) in fetch(statement, table=table)]
