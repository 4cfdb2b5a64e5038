"""The role of the SQL page: made in embedded mode, given its grants by `migrate`, and checked at each use.

With DATABASE_URL an administrator of the database makes it, by the statements of `describe_setup`.
"""

from typing import Any

import psycopg
from django.conf import settings
from django.db import Error, connection
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from memory_site.operations.pitr.server import connect_superuser
from memory_site.operations.sql_page.readable import list_readable_columns

EMBEDDED_ROLE = "memory_site_reader"
#: Seconds that a statement may take, of the server's time.
TIMEOUT_SECONDS = 5
MAX_CONNECTIONS = 4
ATTRIBUTES = (
    f"LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS CONNECTION LIMIT {MAX_CONNECTIONS}"
)
#: Stored with the role besides what every transaction sets: temporary files only a superuser may limit.
ROLE_SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": f"{TIMEOUT_SECONDS}s",
    "temp_file_limit": "256MB",
}
SELECT_ROLE_SQL = "SELECT count(*) FROM pg_roles WHERE rolname = %s"
# What makes a role unfit: attributes, memberships, any right to write, a right to read what is not listed.
FIND_FAULT_SQL = """
WITH tables AS (
    SELECT pg_class.oid, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'public' AND relkind IN ('r', 'p', 'v', 'm', 'f')
), readable AS (SELECT relname, columns FROM jsonb_to_recordset(%(readable)s::jsonb) AS t(relname text, columns text[]))
SELECT CASE
    WHEN (SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
          FROM pg_roles WHERE rolname = session_user) THEN 'it has attributes that no reader needs'
    WHEN EXISTS (SELECT FROM pg_auth_members JOIN pg_roles ON pg_roles.oid = member WHERE rolname = session_user)
        THEN 'it is a member of another role'
    WHEN EXISTS (SELECT FROM tables WHERE has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
                 OR has_any_column_privilege(oid, 'INSERT, UPDATE'))
        THEN 'it may write'
    WHEN has_schema_privilege('public', 'CREATE') THEN 'it may create tables'
    WHEN EXISTS (
        SELECT FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN readable USING (relname)
        WHERE has_column_privilege(tables.oid, attnum, 'SELECT') AND NOT attname = ANY(coalesce(columns, '{}'))
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = tables.oid AND deptype = 'e')
          AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = tables.oid)
    ) THEN 'it may read columns that hold secrets, or tables that are not the store''s'
END
"""


class RoleProblem(Exception):
    """The role cannot be made, or is not fit. The message is a sentence."""


def get_address() -> dict[str, Any]:
    """Return the parameters of a connection as the role."""
    if settings.SQL_PAGE_DATABASE_URL:
        return conninfo_to_dict(settings.SQL_PAGE_DATABASE_URL)
    known = {"host": "HOST", "port": "PORT", "dbname": "NAME"}
    place = {name: connection.settings_dict[key] for name, key in known.items()}
    return {**place, "user": EMBEDDED_ROLE, "password": settings.HOME.secret("sql_page")}


def prepare_role() -> None:
    """Make the role where the site may, and give it its grants and no others. Raises RoleProblem."""
    if settings.EMBEDDED:
        make_embedded_role(is_on=settings.SQL_PAGE)
    if settings.SQL_PAGE:
        grant(str(get_address().get("user", "")))


def make_embedded_role(*, is_on: bool) -> None:
    """Create the role, or close it: while the page is off, it cannot log in."""
    role, exists = sql.Identifier(EMBEDDED_ROLE), has_role(EMBEDDED_ROLE)
    statements: list[sql.Composed] = [sql.SQL("ALTER ROLE {} NOLOGIN").format(role)] if exists else []
    if is_on:
        statements = build_role_statements(role, settings.HOME.secret("sql_page"), exists=exists)
    if statements:
        with connect_superuser(settings.HOME) as server:
            for statement in statements:
                server.execute(statement)


def has_role(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(SELECT_ROLE_SQL, [name])
        return bool(cursor.fetchone()[0])


def build_role_statements(role: sql.Identifier, password: str, *, exists: bool) -> list[sql.Composed]:
    verb = sql.SQL("ALTER" if exists else "CREATE")
    attributes = sql.SQL(ATTRIBUTES)
    return [
        sql.SQL("{} ROLE {} {} PASSWORD {}").format(verb, role, attributes, sql.Literal(password)),
        *[
            sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(name), sql.Literal(value))
            for name, value in ROLE_SETTINGS.items()
        ],
    ]


def describe_setup(role: str = EMBEDDED_ROLE) -> list[str]:
    """Return the statements with which an administrator of the database makes the role."""
    return [each.as_string() for each in build_role_statements(sql.Identifier(role), "…", exists=False)]


def grant(name: str) -> None:
    """Take every right on our tables from the role, and give it those of `list_readable_columns`, in one transaction.

    Raises RoleProblem.
    """
    role = sql.Identifier(name)
    statements = [sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role)]
    for table, columns in list_readable_columns().items():
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        statements.append(sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(listed, sql.Identifier(table), role))
    try:
        with connection.cursor() as cursor:
            cursor.execute("; ".join(each.as_string() for each in statements))
    except Error as error:
        reason = str(error).strip().splitlines()[0]
        raise RoleProblem(
            f"The SQL page has no role: {reason}. An administrator can run: {'; '.join(describe_setup(name))}."
        ) from error


def check_role(reader: psycopg.Connection) -> None:
    """Raise RoleProblem if the role of this connection may do more than read the listed columns."""
    readable = [{"relname": table, "columns": columns} for table, columns in list_readable_columns().items()]
    [(fault,)] = reader.execute(FIND_FAULT_SQL, {"readable": Jsonb(readable)}).fetchall()
    if fault:
        raise RoleProblem(f"The role of SQL_PAGE_DATABASE_URL is not used: {fault}.")
