"""A site's database of its own beside the suite's, filled, with a backup of it that was made once."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection
from psycopg import sql

from memory_site.operations.backups.contents import prepare_session, read_contents
from memory_site.operations.backups.database import connect, connect_to_server, drop_database, get_database_name
from memory_site.operations.backups.folder import StoredBackup, read_stored
from memory_site.operations.backups.make import make_backup
from memory_site.operations.restore.databases import use_database
from memory_site.operations.restore.settle import PASSING_MODELS
from sessions_app.models import SCOPES, ApiKey, Namespace
from tests.conftest import Api
from tests.databases import execute_when_free
from tests.memories.users.test_erasure import ERASED_USER, SECRET_WORD, fill_every_table

LIVE = "harbour"
#: Tables whose rows a restore changes on purpose.
CHANGED_TABLES = {f"public.{model._meta.db_table}" for model in PASSING_MODELS} | {
    "public.operations_backup",
    "public.releases_databaserelease",
}


@dataclass
class Filled:
    """A database that others are copies of, its backup, and the key of its only caller."""

    template: str
    stored: StoredBackup
    token: str


def copy_database(source: str, target: str) -> None:
    drop_database(target)
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(target), sql.Identifier(source))
    with connect_to_server() as opened:
        execute_when_free(opened, statement)


@pytest.fixture(scope="module")
def filled(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Filled]:
    directory = tmp_path_factory.mktemp("backups")
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.BACKUP_DIR", directory)
        connection.close()
        copy_database(get_database_name(), LIVE)
        with use_database(LIVE):
            token = fill()
            stored = make_backup()
        copy_database(LIVE, f"{LIVE}_filled")
        yield Filled(f"{LIVE}_filled", stored, token)
        for name in list_site_databases():
            drop_database(name)


def fill() -> str:
    api = Api(ApiKey.objects.issue(Namespace.objects.create(name="ours"), scopes=SCOPES)[1])
    fill_every_table(api, ERASED_USER, SECRET_WORD, "a session")
    fill_every_table(api, "ada", "theirs alone", "another session")
    return api.token


@pytest.fixture
def site(untouched: Api, filled: Filled) -> Iterator[Api]:
    """The site's caller, after the backup was made: its database is as the backup has it. It may be changed."""
    yield untouched
    connection.close()
    for name in set(list_site_databases()) - {filled.template}:
        drop_database(name)
    copy_database(filled.template, LIVE)


@pytest.fixture
def untouched(filled: Filled, django_db_blocker, settings, tmp_path) -> Iterator[Api]:
    """The same for a test that changes nothing in the databases."""
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.BACKUP_DIR.mkdir(mode=0o700)
    for path in (filled.stored.path, filled.stored.manifest_path):
        shutil.copy(path, settings.BACKUP_DIR)
    with django_db_blocker.unblock(), use_database(LIVE):
        yield Api(filled.token)


@pytest.fixture
def stored(untouched, filled, settings) -> StoredBackup:
    """The backup, in the test's own folder."""
    return read_stored(Path(settings.BACKUP_DIR), filled.stored.name)


def list_site_databases() -> list[str]:
    with connect_to_server() as opened:
        rows = opened.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [LIVE]).fetchall()
    return sorted(name for (name,) in rows)


def read_tables(database: str) -> dict[str, dict]:
    """Counts and hashes of all tables but those that a restore changes on purpose."""
    with connect(database) as opened, opened.transaction():
        prepare_session(opened, parallel=False)
        tables = read_contents(opened)["tables"]
    return {name: found for name, found in tables.items() if name not in CHANGED_TABLES}
