"""Damaged pages, found by reading everything.

Two ways, because each sees what the other cannot. A statement reads every row of each table with its TOAST, as any
role may; PostgreSQL compares a page's checksum when it comes from the disk, not when it is in the buffers. A base
backup into nothing compares every file on the disk, those of indexes and catalogs too; it needs a role with
REPLICATION. Neither needs an extension, and the site goes on meanwhile.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import psycopg
from django.db import connection

from memory_site.operations.maintenance.findings import Finding, Severity, fetch
from memory_site.operations.models.maintenance import DAMAGED_PAGE

#: Pages that are read by one statement. After an error the half of them is read, and so on, down to the damaged one.
PAGES_PER_STATEMENT = 2_048
#: Of one table: a disk that returns nonsense has more.
MAX_NAMED_PAGES = 20
PAGE_BYTES = 8192
#: SQLSTATE classes: XX, internal errors and corruption; 58, errors of the operating system.
DAMAGE_CLASSES = ("XX", "58")
FILE = re.compile(r'(?:pg_tblspc/(?P<tablespace>\d+)/[^/"]+|base|global)/(?:(?P<database>\d+)/)?(?P<node>\d+)(?:_\w+)?')
BLOCK = re.compile(r"\bblocks? (\d+)", re.IGNORECASE)

SELECT_TABLES_SQL = """
SELECT pg_class.oid::regclass::text, pg_relation_size(pg_class.oid) / %(page)s,
       pg_total_relation_size(pg_class.oid) - pg_indexes_size(pg_class.oid)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'm') AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
  AND has_table_privilege(pg_class.oid, 'SELECT') AND (relkind <> 'm' OR relispopulated)
ORDER BY 1
"""
# The TOAST table of a table is named by that.
SELECT_RELATION_SQL = """
SELECT coalesce(owner.oid, found.oid)::regclass::text,
       CASE WHEN owner.oid IS NOT NULL THEN 'TOAST' WHEN found.relkind = 'i' THEN 'index' ELSE 'table' END
FROM pg_class found
LEFT JOIN pg_index ON indexrelid = found.oid
LEFT JOIN pg_class owner ON owner.reltoastrelid = coalesce(indrelid, found.oid)
WHERE found.oid = pg_filenode_relation(%(tablespace)s, %(node)s)
"""
COPY_SQL = (
    "COPY (SELECT * FROM ONLY {table} WHERE ctid >= '({start},0)' AND ctid < '({end},0)') TO STDOUT (FORMAT BINARY)"
)
#: Of another database.
DROP = "python manage.py restore --drop DATABASE, if a restore has replaced it"
RESTORE = "python manage.py restore latest --replace {database}"


@dataclass(frozen=True)
class DamagedPage:
    """A page that cannot be read. `kind` is table, TOAST, index or file, `block` its number, and `error` the server's
    own words."""

    relation: str
    kind: str
    block: int | None
    error: str

    def as_finding(self) -> Finding:
        where = "A page" if self.block is None else f"Page {self.block}"
        what = "" if self.kind == "table" else f" of the {self.kind}"
        restore = RESTORE.format(database=connection.settings_dict["NAME"])
        mends = {"index": f"python manage.py maintain --reindex {self.relation}", "file": DROP}
        message = f"{where}{what} is damaged: {self.error}"
        return Finding(Severity.PROBLEM, DAMAGED_PAGE, self.relation, message, mends.get(self.kind, restore))


@dataclass(frozen=True)
class Readable:
    """A table that is read page by page: how many pages it has, and how many bytes with its TOAST."""

    name: str
    pages: int
    size: int


def list_readable_tables() -> list[Readable]:
    return [Readable(*row) for row in fetch(SELECT_TABLES_SQL, page=PAGE_BYTES)]


def read_table(table: Readable) -> Iterator[tuple[int, list[DamagedPage]]]:
    """Read a table. Yield after each statement the bytes that it stands for, and the damaged pages that it met."""
    left = MAX_NAMED_PAGES
    for start in range(0, table.pages, PAGES_PER_STATEMENT):
        end = min(start + PAGES_PER_STATEMENT, table.pages)
        damaged = list(islice(find_damaged(table.name, start, end), left))
        left -= len(damaged)
        yield table.size * (end - start) // table.pages, damaged


def find_damaged(table: str, start: int, end: int) -> Iterator[DamagedPage]:
    """Read pages `start` to `end`; around a damaged one read smaller and smaller parts."""
    error = read_pages(table, start, end) if start < end else None
    if error is None:
        return
    page = locate(error, table)
    is_ours = page.relation == table and page.kind == "table" and page.block is not None and start <= page.block < end
    if is_ours and page.block is not None:
        yield page
        yield from find_damaged(table, start, page.block)
        yield from find_damaged(table, page.block + 1, end)
    elif end - start == 1:
        yield page
    else:
        middle = (start + end) // 2
        yield from find_damaged(table, start, middle)
        yield from find_damaged(table, middle, end)


def read_pages(table: str, start: int, end: int) -> psycopg.Error | None:
    """Read the pages, and nothing of what they hold is kept. Return the error of a damaged one."""
    try:
        with (
            connection.cursor() as cursor,
            cursor.copy(COPY_SQL.format(table=table, start=start, end=end)) as copy,
        ):
            for _ in copy:
                pass
    except psycopg.Error as error:  # the driver's own: Django does not wrap a COPY
        if not is_damage(error):
            raise
        return error
    return None


def is_damage(error: psycopg.Error) -> bool:
    return (error.sqlstate or "").startswith(DAMAGE_CLASSES)


def locate(error: Exception, table: str) -> DamagedPage:
    """Return the page that an error of the server names; of `table` if it names none."""
    text = str(error).strip()
    first = text.splitlines()[0]
    block = BLOCK.search("\n".join(reversed(text.splitlines())) if " among blocks " in text else text)
    relation, kind = name_file(first) or (table, "table")
    return DamagedPage(relation, kind, int(block[1]) if block else None, first)


def name_file(text: str) -> tuple[str, str] | None:
    """Return name and kind of the relation whose file a text names; None without one, or for another database's."""
    match = FILE.search(text)
    if match is None:
        return None
    rows = fetch(SELECT_RELATION_SQL, tablespace=int(match["tablespace"] or 0), node=int(match["node"]))
    return rows[0] if rows else None
