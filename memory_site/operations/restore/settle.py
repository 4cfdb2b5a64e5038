"""Makes a restored database one that a site can live in: this release's tables, and no processes that are gone."""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from psycopg import sql

from memory_site.core.leases.models import Lease
from memory_site.operations.backups.database import connect, get_other_owner
from memory_site.operations.management.commands.migrate import Command as MigrateCommand
from memory_site.operations.models import Heartbeat
from sessions_app.commands import get_first_line
from sessions_app.models import ApiKey

log = logging.getLogger(__name__)
Connection = psycopg.Connection[Any]
#: Of the dump's moment: who did which work, who was alive, and who was signed in to the console. A session that has
#: ended since, by a new password for example, must not be valid again.
PASSING_MODELS = (Lease, Heartbeat, Session)
# What is stored with a database, for all roles or one, and no dump has.
SELECT_SETTINGS_SQL = """
SELECT rolname, setting FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
LEFT JOIN pg_roles ON pg_roles.oid = setrole CROSS JOIN unnest(setconfig) setting WHERE datname = %s
"""
# An ordinary role may set those of an extension only in a session that has loaded it.
LOAD_EXTENSION_SQL = "SELECT '[1]'::vector"
SELECT_RIGHTS_SQL = """
SELECT coalesce(rolname, 'public'), privilege_type FROM pg_database CROSS JOIN aclexplode(datacl) right_of
LEFT JOIN pg_roles ON pg_roles.oid = grantee WHERE datname = %s
"""
LISTS = {"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"}


def migrate_forward() -> int:
    """Bring the default database to this release, and store the settings of the server with the role for it. Return
    the number of migrations that it has then."""
    command = MigrateCommand()
    command.erases_again = False
    call_command(command, verbosity=0, interactive=False, skip_checks=True)
    return len(MigrationRecorder(connection).applied_migrations())


def forget_processes() -> None:
    """Delete the rows that belong to processes and visitors of the dump's moment."""
    for model in PASSING_MODELS:
        model.objects.all().delete()


def list_revoked() -> dict[str, datetime]:
    """Return the keys of the default database that were revoked, by id; none where it has no such table."""
    try:
        return {key.pk: key.revoked_at for key in ApiKey.objects.all() if key.revoked_at}
    except DatabaseError:
        return {}


def revoke_again(revoked: dict[str, datetime]) -> None:
    """Revoke the keys that the backup has as valid: a restore must not open a door that was closed."""
    for key in ApiKey.objects.filter(pk__in=revoked, revoked_at=None):
        ApiKey.objects.filter(pk=key.pk).update(revoked_at=revoked[key.pk])


def vacuum() -> None:
    """Remove what was erased from the pages, and collect the planner's statistics, which a dump does not have."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("VACUUM (ANALYZE)")


def copy_database_settings(source: str, target: str) -> None:
    """Give a database the settings and rights of another one. What the role may not set is left out, with a warning."""
    owner = get_other_owner()
    with connect(target, **({"role": owner} if owner else {})) as opened:
        opened.execute(LOAD_EXTENSION_SQL)
        for statement in [*build_settings(opened, source, target), *build_rights(opened, source, target)]:
            try:
                opened.execute(statement)
            except psycopg.Error as error:
                log.warning("Not set: %s (%s)", statement.as_string(opened), get_first_line(error))


def build_settings(opened: Connection, source: str, target: str) -> Iterator[sql.Composed]:
    for role, setting in opened.execute(SELECT_SETTINGS_SQL, [source]).fetchall():
        name, _, value = setting.partition("=")
        whose = sql.SQL("DATABASE {}") if role is None else sql.SQL("ROLE {} IN DATABASE {}")
        identifiers = [sql.Identifier(each) for each in (role, target) if each is not None]
        written = sql.SQL(value) if name in LISTS else sql.Literal(value)
        yield sql.SQL("ALTER {} SET {} = {}").format(
            whose.format(*identifiers), sql.Identifier(*name.split(".")), written
        )


def build_rights(opened: Connection, source: str, target: str) -> Iterator[sql.Composed]:
    """Without any, both databases have the default rights."""
    rights = opened.execute(SELECT_RIGHTS_SQL, [source]).fetchall()
    database = sql.Identifier(target)
    if rights:
        yield sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database)
    for role, right in rights:
        grantee = sql.SQL("PUBLIC") if role == "public" else sql.Identifier(role)
        yield sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(right), database, grantee)
