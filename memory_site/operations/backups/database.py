"""Connections to the database as backups need them: direct, without the site's time limits, to any database by name."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from psycopg import pq, sql
from psycopg.errors import InsufficientPrivilege

from memory_site.core.db.cluster import is_citus
from memory_site.operations.backups.problems import BackupProblem, BackupsNotSupported
from sessions_app.commands import get_first_line

APPLICATION_NAME = "memory-site backups"
#: Of PostgreSQL (NAMEDATALEN - 1), in bytes.
MAX_NAME_BYTES = 63
MAINTENANCE_DATABASES = ("postgres", "template1")
ENVIRONMENT_NAMES = {info.keyword.decode(): (info.envvar or b"").decode() for info in pq.Conninfo.get_defaults()}
DJANGO_NAMES = {"HOST": "host", "PORT": "port", "NAME": "dbname", "USER": "user", "PASSWORD": "password"}
# A database made from template0 has no extension. An ordinary role creates one only where its author trusts it.
MAY_CREATE_EXTENSION_SQL = """
SELECT rolsuper OR EXISTS (SELECT FROM pg_available_extension_versions WHERE name = 'vector' AND trusted)
FROM pg_roles WHERE rolname = current_user
"""
MAY_CREATE_DATABASE_SQL = "SELECT rolcreatedb OR rolsuper, rolname FROM pg_roles WHERE rolname = current_user"
# The column of the locale has another name before PostgreSQL 17.
DESCRIBE_DATABASE_SQL = """
SELECT datname, pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype,
       coalesce(to_jsonb(database) ->> 'datlocale', to_jsonb(database) ->> 'daticulocale'), pg_database_size(oid)
FROM pg_database database WHERE datname = current_database()
"""
DESCRIPTION = ("name", "encoding", "provider", "collate", "ctype", "locale", "bytes")
PROVIDERS = {"b": "builtin", "c": "libc", "i": "icu"}
POOLER = (
    "DATABASE_POOLER is set, and a backup needs a direct connection: name the PostgreSQL server in BACKUP_DATABASE_URL."
)
CITUS = (
    "This database is distributed by Citus, where no dump is of one moment: make base backups of every node instead "
    "(docs/scaling/citus.md)."
)


def get_parameters(database: str | None = None) -> dict[str, str]:
    """Return the parameters of libpq for a database, by default the site's own. Raises BackupProblem."""
    if settings.DATABASE_POOLER and settings.BACKUP_DATABASE is None:
        raise BackupProblem(POOLER)
    described = settings.BACKUP_DATABASE or connection.settings_dict
    parameters = {theirs: str(described[ours]) for ours, theirs in DJANGO_NAMES.items() if described.get(ours)}
    # The site's `options` are its time limits and settings of searches.
    known = {name: str(value) for name, value in described.get("OPTIONS", {}).items() if name in ENVIRONMENT_NAMES}
    known.pop("options", None)
    return parameters | known | ({"dbname": database} if database else {})


def get_database_name() -> str:
    return get_parameters()["dbname"]


@contextmanager
def connect(database: str | None = None, **settings_of_server: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect to a database in autocommit mode. Raises BackupProblem if it does not answer."""
    options = " ".join(f"-c {name}={value}" for name, value in settings_of_server.items())
    parameters: dict[str, Any] = get_parameters(database) | {"application_name": APPLICATION_NAME, "options": options}
    try:
        opened = psycopg.connect(**parameters, autocommit=True)
    except psycopg.OperationalError as error:
        raise BackupProblem(f"The database does not answer: {get_first_line(error)}") from None
    with opened:
        yield opened


@contextmanager
def connect_to_server() -> Iterator[psycopg.Connection[Any]]:
    """Connect to a database that every server has: the site's may be missing. Raises BackupProblem."""
    with ExitStack() as stack:
        for name in MAINTENANCE_DATABASES:
            with suppress(BackupProblem):
                opened = stack.enter_context(connect(name))
                break
        else:
            opened = stack.enter_context(connect())
        yield opened


def build_environment(database: str | None = None, **settings_of_server: str) -> dict[str, str]:
    """Return the variables by which PostgreSQL's programs find a database: no password is in an argument."""
    found = {ENVIRONMENT_NAMES[name]: value for name, value in get_parameters(database).items()}
    found["PGOPTIONS"] = " ".join(f"-c {name}={value}" for name, value in settings_of_server.items())
    return {name: value for name, value in found.items() if name}


def require_single_server() -> None:
    """Raise BackupsNotSupported where a dump would not be of one moment."""
    if is_citus():
        raise BackupsNotSupported(CITUS)


def get_server_version(opened: psycopg.Connection[Any]) -> int:
    """Return the major version."""
    return opened.info.server_version // 10_000


def describe_database(opened: psycopg.Connection[Any]) -> dict[str, Any]:
    """Return name, encoding, locale and bytes of the connection's database."""
    row = opened.execute(DESCRIBE_DATABASE_SQL).fetchone()
    assert row is not None  # noqa: S101  (the database that answers exists)
    return dict(zip(DESCRIPTION, row, strict=True)) | {"provider": PROVIDERS[row[2]]}


def get_other_owner() -> str | None:
    """Return the site's role where backups use another one: what a restore makes must belong to the site's."""
    role = str(connection.settings_dict["USER"])
    return None if get_parameters().get("user") == role else role


def create_database(
    name: str, described: Mapping[str, Any], owner: str | None = None, comment: str | None = None
) -> None:
    """Create an empty database with encoding and locale of another one. Raises BackupProblem."""
    with connect_to_server() as opened:
        require_right_to_create(opened)
        try:
            opened.execute(build_create_statement(opened, name, described))
            if comment is not None:
                comment_on(opened, name, comment)
            if owner is not None:
                opened.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*map(sql.Identifier, (name, owner))))
        except psycopg.Error as error:
            raise BackupProblem(f"The database {name} cannot be created: {get_first_line(error)}") from None


def require_right_to_create(opened: psycopg.Connection[Any]) -> None:
    allowed, role = opened.execute(MAY_CREATE_DATABASE_SQL).fetchone() or (False, "?")
    if not allowed:
        raise BackupProblem(
            f"The role {role} may not create databases, which verification and restore need: an administrator can run "
            f'ALTER ROLE "{role}" CREATEDB, or name another role in BACKUP_DATABASE_URL.'
        )


def build_create_statement(opened: psycopg.Connection[Any], name: str, described: Mapping[str, Any]) -> sql.Composed:
    """template1 has the extension where the role may not create it; its locale cannot be chosen then."""
    (is_creatable,) = opened.execute(MAY_CREATE_EXTENSION_SQL).fetchone() or (False,)
    if not is_creatable:
        return sql.SQL("CREATE DATABASE {} TEMPLATE template1").format(sql.Identifier(name))
    chosen = {
        "ENCODING": described["encoding"],
        "LC_COLLATE": described["collate"],
        "LC_CTYPE": described["ctype"],
        "LOCALE_PROVIDER": described["provider"],
    }
    if described["locale"] is not None:
        chosen["ICU_LOCALE" if described["provider"] == "icu" else "BUILTIN_LOCALE"] = described["locale"]
    options = [sql.SQL(f"{option} {{}}").format(sql.Literal(value)) for option, value in chosen.items()]
    return sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(sql.Identifier(name), sql.SQL(" ").join(options))


def comment_on(opened: psycopg.Connection[Any], name: str, comment: str | None) -> None:
    opened.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment)))


def drop_database(name: str) -> None:
    """Drop a database if it exists, and end its connections."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
    with connect_to_server() as opened:
        try:
            opened.execute(statement + sql.SQL(" WITH (FORCE)"))
        except InsufficientPrivilege:  # autovacuum is in it, which PostgreSQL 18 ends for all only without FORCE
            opened.execute(statement)


def list_databases(prefix: str) -> list[str]:
    """Return the names of the server's databases that begin so."""
    with connect_to_server() as opened:
        rows = opened.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", [prefix])
        return [name for (name,) in rows.fetchall()]
