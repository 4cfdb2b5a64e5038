"""What is checked before a restore begins, so that a refusal changes nothing."""

import shutil
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from psycopg import sql

from memory_site.core.leases.models import Lease
from memory_site.operations.backups.contents import list_tables, prepare_session
from memory_site.operations.backups.database import (
    MAX_NAME_BYTES,
    connect,
    connect_to_server,
    get_database_name,
    get_other_owner,
    get_server_version,
    require_right_to_create,
)
from memory_site.operations.backups.encryption import find_key
from memory_site.operations.backups.folder import StoredBackup
from memory_site.operations.backups.manifest import Manifest
from memory_site.operations.backups.problems import BackupProblem, DamagedBackup
from memory_site.operations.backups.space import DATABASE_FACTOR
from memory_site.operations.backups.verify import get_scratch_prefix
from memory_site.operations.models import Heartbeat
from memory_site.operations.restore.databases import exists, name_draft
from sessions_app.models import ApiKey, Namespace

GB = 1024**3
#: Tables of a site that has stored nothing yet: a first start fills them.
FIRST_TABLES = {model._meta.db_table for model in (Lease, Heartbeat, ApiKey, Namespace)}
FIRST_PREFIXES = ("django_", "auth_", "operations_", "releases_")
MAY_GIVE_SQL = "SELECT pg_has_role(%s, 'MEMBER')"
OWNS_SQL = """
SELECT pg_has_role(datdba, 'USAGE'), current_user, pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s
"""


class RestoreRefused(BackupProblem):
    """What was asked for is wrong; the message says what to ask for instead. Nothing was changed."""


def check_target(live: str, into: str | None, replace: str | None) -> None:
    """Check that the command names a target that it may fill. Raises RestoreRefused."""
    if into is not None:
        check_new_name(into)
    elif replace not in (None, live):
        raise RestoreRefused(f"The site's database is {live}, not {replace}: --replace {live}.")
    elif replace is None and (table := find_content(live)):
        raise RestoreRefused(
            f"The database {live} is in use: {table} has rows. With --replace {live} the backup takes its place, and "
            "the old one stays under another name; --into NAME restores beside it."
        )


def check_new_name(name: str) -> None:
    if not 0 < len(name.encode(errors="replace")) <= MAX_NAME_BYTES or not name.isprintable():
        raise RestoreRefused(f"--into must be a name of 1 to {MAX_NAME_BYTES} bytes, all of them printable.")
    if is_temporary(name):
        raise RestoreRefused(f"--into {name}: restores and verifications drop databases of such a name.")
    if exists(name):
        raise RestoreRefused(f"There is a database {name} already: name a new one in --into.")


def is_temporary(name: str) -> bool:
    """Return whether the next restore or verification would drop a database of that name as left over."""
    return name == name_draft(get_database_name()) or name.startswith(get_scratch_prefix())


def find_content(name: str) -> str | None:
    """Return a table with rows that a first start does not make; None if there is no such table or no database."""
    if not exists(name):
        return None
    with connect(name) as opened, opened.transaction():
        prepare_session(opened, parallel=True)
        for table in list_tables(opened):
            if not is_of_first_start(table.name) and has_rows(opened, table.schema, table.name):
                return table.name
    return None


def is_of_first_start(table: str) -> bool:
    return table in FIRST_TABLES or table.startswith(FIRST_PREFIXES)


def has_rows(opened: psycopg.Connection[Any], *table: str) -> bool:
    statement = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(*table))
    return opened.execute(statement).fetchone() == (True,)


def check_backup(stored: StoredBackup) -> None:
    """Check that this release, with its keys, can restore the backup here. Raises BackupProblem."""
    if stored.problem:
        raise DamagedBackup(stored.problem)
    if stored.encrypted:
        find_key(stored.manifest["encryption"]["key_id"], stored.path.name)
    check_migrations(stored)
    with connect_to_server() as opened:
        check_server(stored.manifest, stored.name, get_server_version(opened))
        require_right_to_create(opened)
        check_owner(opened, get_other_owner())


def check_owner(opened: psycopg.Connection[Any], owner: str | None) -> None:
    """Check that what the role of BACKUP_DATABASE_URL restores may belong to the site's role."""
    if owner is not None and opened.execute(MAY_GIVE_SQL, [owner]).fetchone() != (True,):
        raise BackupProblem(
            f'What is restored must belong to the role {owner}: GRANT "{owner}" TO "{opened.info.user}", or name the '
            "site's role in BACKUP_DATABASE_URL."
        )


def check_migrations(stored: StoredBackup) -> None:
    known = MigrationLoader(None)
    unknown = [
        ".".join(key)
        for key in map(tuple, stored.manifest["migrations"])
        if key not in known.disk_migrations and key[0] in known.migrated_apps
    ]
    if unknown:
        raise BackupProblem(
            f"{stored.name} was made by a newer release ({stored.manifest['product']}, {unknown[-1]}): update this one."
        )


def check_server(manifest: Manifest, name: str, version: int) -> None:
    made_by = int(manifest["postgresql"].split(".")[0])
    if made_by > version:
        raise BackupProblem(
            f"{name} was made by PostgreSQL {made_by}, and this server is {version}: it needs {made_by} or newer."
        )


def check_rights(live: str) -> None:
    """Check that the role may rename the site's database. Raises BackupProblem."""
    with connect_to_server() as opened:
        row = opened.execute(OWNS_SQL, [live]).fetchone()
    if row and not row[0]:
        raise BackupProblem(f"The database {live} belongs to {row[2]}, and {row[1]} may not rename it.")


def check_space(stored: StoredBackup) -> None:
    """Check that the disk of the embedded server has room for a second database. Raises BackupProblem. Another
    server's disk cannot be seen from here."""
    if not settings.EMBEDDED:
        return
    require_space(Path(settings.HOME.path), int(stored.manifest["database"]["bytes"] * DATABASE_FACTOR), "the database")


def require_space(directory: Path, needed: int, what: str) -> None:
    while not directory.exists():
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise BackupProblem(
            f"{directory} has {free / GB:.1f} GiB free, and {what} of this backup needs {needed / GB:.1f} GiB."
        )
