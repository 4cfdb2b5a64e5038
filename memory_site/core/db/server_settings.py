"""Settings of the database server, stored with the role: they reach connections that a pooler opens, and Citus's nodes.

A direct connection sends its own settings when it opens, and these win over the role's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

SELECT_STORED_SQL = """
SELECT unnest(setconfig) FROM pg_db_role_setting
JOIN pg_database ON pg_database.oid = setdatabase JOIN pg_roles ON pg_roles.oid = setrole
WHERE datname = current_database() AND rolname = current_user
"""
# `pg_settings` has the value in the setting's own unit. It lacks what an extension has not defined yet.
SELECT_IN_FORCE_SQL = """
SELECT name, coalesce(setting, current_setting(name, true), 'unset')
FROM unnest(%s::text[]) name LEFT JOIN pg_settings USING (name)
"""
# An ordinary role may store a setting of an extension only in a session that has loaded the extension. All is one
# statement, because a pooler may give the next one to another session.
RUN_SQL = "DO $settings$ BEGIN PERFORM '[1]'::vector; {} END $settings$"
SELECT_NAMES_SQL = "SELECT current_user, current_database()"
SELECT_BACKEND_SQL = "SELECT pg_backend_pid()"
# A pooler keeps connections for up to an hour; those that were opened before have the earlier settings.
END_IDLE_SQL = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE usename = current_user AND datname = current_database() AND state = 'idle' AND pid <> pg_backend_pid()
"""


#: What PgBouncer says to a connection that sends settings.
REFUSED_OPTIONS = "unsupported startup parameter"
POOLER_ADVICE = "A pooler stands before PostgreSQL: set DATABASE_POOLER=transaction."


class SettingsNotStored(Exception):
    """The role may not store its settings. The message has the statements for an administrator."""


@dataclass(frozen=True)
class WrongSetting:
    """A setting whose value in force is not the wanted one."""

    name: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.name} is {self.found} instead of {self.wanted}"


def store_settings(connection: BaseDatabaseWrapper, wanted: Mapping[str, str]) -> list[str]:
    """Store the settings with the connection's role, for its database. Return the names of those that were not yet.

    They hold for connections that open afterwards. Raises SettingsNotStored.
    """
    stored = read_stored_settings(connection)
    missing = {name: value for name, value in wanted.items() if stored.get(name) != value}
    if missing:
        statements = build_statements(connection, missing)
        try:
            with connection.cursor() as cursor:
                cursor.execute(RUN_SQL.format(" ".join(statements)))
        except Error as error:
            reason = str(error).strip().splitlines()[0]
            raise SettingsNotStored(f"{reason}. An administrator can run: {' '.join(statements)}") from error
    return list(missing)


def read_stored_settings(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Return what is stored with the connection's role for its database."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_STORED_SQL)
        return dict(pair.split("=", 1) for (pair,) in cursor.fetchall())


def build_statements(connection: BaseDatabaseWrapper, settings: Mapping[str, str]) -> list[str]:
    """Return the statements that store the settings with the connection's role."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_NAMES_SQL)
        role, database = map(sql.Identifier, cursor.fetchone())
    alter = sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {};")
    return [
        alter.format(role, database, sql.Identifier(*name.split(".")), sql.Literal(value)).as_string()
        for name, value in settings.items()
    ]


def find_wrong_settings(connection: BaseDatabaseWrapper, wanted: Mapping[str, str]) -> list[WrongSetting]:
    """Return the settings that are not in force on the connection."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_IN_FORCE_SQL, [list(wanted)])
        found = dict(cursor.fetchall())
    return [WrongSetting(name, value, found[name]) for name, value in wanted.items() if found[name] != value]


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a pooler stands between: the process that it named at the connection is not the one that works."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_BACKEND_SQL)
        return cursor.fetchone()[0] != connection.connection.info.backend_pid


def renew_pooled_connections(connection: BaseDatabaseWrapper) -> None:
    """End the pooler's idle connections of this role, and the one that is at work here, so that new ones open."""
    with connection.cursor() as cursor:
        cursor.execute(END_IDLE_SQL)
        cursor.execute("BEGIN")  # a pooler does not give on a connection whose client left it in a transaction
    connection.close()
