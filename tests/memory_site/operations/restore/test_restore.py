"""A restored database has every row of the backup, nothing that was erased since, and the place of the site's."""

from collections.abc import Iterator
from types import SimpleNamespace

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from memories.models import Memory
from memory_site.core.db.server_settings import read_stored_settings
from memory_site.core.leases.leases import take_lease
from memory_site.core.leases.models import Lease
from memory_site.operations.backups.database import connect_to_server, drop_database
from memory_site.operations.backups.make import make_backup
from memory_site.operations.management.commands.restore import Command
from memory_site.operations.models import Backup
from memory_site.operations.restore.databases import list_kept
from sessions_app.models import ApiKey, ErasedNamespace
from tests.memories.users.test_erasure import ERASED_USER, SECRET_WORD, erase_user, find_lines
from tests.memory_site.operations.restore.conftest import LIVE, list_site_databases, read_tables

pytestmark = pytest.mark.django_db


def restore(capsys, *arguments: str, **options: str) -> str:
    """Run the command. Return what it wrote."""
    call_command("restore", *arguments, **options)
    return capsys.readouterr().out


def refuse(*arguments: str, **options: str) -> tuple[str, int]:
    """Run the command, which must fail. Return its message and exit code."""
    with pytest.raises(CommandError) as caught:
        call_command("restore", *arguments, **options)
    return str(caught.value), caught.value.returncode


def test_the_backup_takes_the_place_and_the_old_database_stays_until_it_is_dropped(site, stored, capsys):
    before = read_tables(LIVE)
    site.add("stored after the backup")
    take_lease("of a process that is gone")
    with connect_to_server() as opened:
        opened.execute(f"ALTER DATABASE {LIVE} SET work_mem = '17MB'")
        opened.execute(f"REVOKE TEMPORARY ON DATABASE {LIVE} FROM PUBLIC")
    said = restore(capsys, stored.name, replace=LIVE)
    assert read_tables(LIVE) == before
    assert f"{stored.name} is in the database {LIVE}: " in said
    [kept] = list_kept()
    assert f"To drop it: python manage.py restore --drop {kept.name}" in said
    assert read_tables(kept.name)["public.memories_memory"]["rows"] == before["public.memories_memory"]["rows"] + 1
    assert not Lease.objects.exists()
    assert Backup.objects.get().state == "written"
    assert read_stored_settings(connection).items() >= {"hnsw.ef_search": "200"}.items()
    assert site.search("theirs")["results"]
    with connection.cursor() as cursor:
        cursor.execute("SHOW work_mem")
        assert cursor.fetchone() == ("17MB",)
        cursor.execute("SELECT has_database_privilege('public', current_database(), 'TEMPORARY')")
        assert cursor.fetchone() == (False,)
    assert call_command("restore", drop=kept.name) is None
    assert list_kept() == []


def test_what_was_erased_since_is_erased_again(site, stored, capsys):
    erase_user(site)
    said = restore(capsys, stored.name, replace=LIVE)
    assert "1 erasure that came after it was repeated." in said
    assert find_lines(ERASED_USER, SECRET_WORD) == []
    assert Memory.objects.filter(user_id="ada").count() == 6
    site.add("back again", user_id=ERASED_USER)
    restore(capsys, stored.name, into=f"{LIVE}_two")
    assert site.get(f"/users/{ERASED_USER}").json()["memories"] == 1


def test_the_ledger_alone_is_enough_when_the_database_is_gone(site, stored, capsys):
    erase_user(site)
    connection.close()
    drop_database(LIVE)
    said = restore(capsys, stored.name)
    assert "The database before it" not in said
    assert find_lines(ERASED_USER, SECRET_WORD) == []
    assert list_site_databases() == [LIVE, f"{LIVE}_filled"]


def damage_ledger(settings) -> None:
    path = settings.BACKUP_DIR / "erasures.jsonl"
    path.write_text(path.read_text()[:-9] + "\n")


def test_nothing_is_restored_with_a_ledger_that_cannot_be_read(site, stored, settings):
    erase_user(site)
    damage_ledger(settings)
    connection.close()
    drop_database(LIVE)
    message, code = refuse(stored.name)
    assert ("Line 1 of" in message, "might come back" in message, code) == (True, True, 1)
    assert list_site_databases() == [f"{LIVE}_filled"]


REFUSALS = [
    ({}, {}, 2, "The database harbour is in use: .* has rows. With --replace harbour the backup takes its place"),
    ({"replace": "port"}, {}, 2, "The site's database is harbour, not port: --replace harbour."),
    ({"into": "harbour_filled"}, {}, 2, "There is a database harbour_filled already: name a new one in --into."),
    ({"into": "x" * 64}, {}, 2, "--into must be a name of 1 to 63 bytes."),
    ({"into": "\udcff"}, {}, 2, "all of them printable"),
    ({"into": "harbour_restoring"}, {}, 2, "verifications drop databases of such a name"),
    ({"into": "harbour_scratch_0123abcd"}, {}, 2, "verifications drop databases of such a name"),
    ({"into": "harbour_two"}, {"postgresql": "99.1"}, 1, "was made by PostgreSQL 99, and this server is 18"),
    ({"into": "harbour_two"}, {"migrations": [["memories", "9999_later"]]}, 1, "newer release .*memories.9999_later"),
    ({"into": "harbour_two"}, {"database": {"bytes": 10**18}}, 1, "GiB free, and the database of this backup needs"),
    ({"into": "harbour_two"}, {"encryption": {"key_id": "ab"}}, 1, "encrypted with the key ab, and .* is empty"),
    ({"into": "harbour_two"}, {"size": 7}, 1, "bytes instead of 7"),
]


@pytest.mark.parametrize(("options", "changes", "code", "message"), REFUSALS)
def test_a_refusal_is_one_sentence_and_changes_nothing(stored, options, changes, code, message):
    stored.change(**changes)
    before = list_site_databases()
    with pytest.raises(CommandError, match=message) as caught:
        call_command("restore", stored.name, **options)
    assert caught.value.returncode == code
    assert "\n" not in str(caught.value)
    assert list_site_databases() == before


def test_an_unknown_a_foreign_and_no_backup_are_refused(stored, settings):
    assert refuse("nothing")[1] == 2
    assert refuse() == ("Name a backup, or a database to --drop.", 2)
    assert refuse(drop=LIVE) == (f"No restore has replaced a database '{LIVE}' (there are: none).", 2)
    settings.SECRET_KEY = "of another site, which is long enough to be one"
    message, code = refuse(stored.name, replace=LIVE)
    assert ("another SECRET_KEY" in message, code) == (True, 1)
    assert list_site_databases() == [LIVE, f"{LIVE}_filled"]


def test_who_meets_a_damaged_backup_is_told_the_newest_verified_one(stored, monkeypatch):
    good = SimpleNamespace(name="memory-2026-11-29T020000Z", is_verified=True)
    damaged = SimpleNamespace(name=stored.name, is_verified=True)
    monkeypatch.setattr(f"{Command.__module__}.list_stored", lambda: [damaged, good])
    stored.path.write_bytes(b"cut")
    message, code = refuse(stored.name, replace=LIVE)
    assert (message.startswith(f"{stored.path.name} has 3 bytes instead of"), code) == (True, 1)
    assert message.endswith(f" The newest verified one is {good.name}.")


@pytest.fixture
def backup_role(site, settings) -> Iterator[psycopg.Connection]:
    """A role for backups beside the site's, which may not do more than a backup needs."""
    superuser = connection.settings_dict | {"USER": "postgres", "PASSWORD": settings.HOME.secret("postgres")}
    settings.BACKUP_DATABASE = {**superuser, "OPTIONS": {}}
    with connect_to_server() as opened:
        opened.execute("CREATE ROLE keeper LOGIN PASSWORD 'keeper' CREATEDB BYPASSRLS IN ROLE pg_read_all_data")
        settings.BACKUP_DATABASE = {**superuser, "USER": "keeper", "PASSWORD": "keeper", "OPTIONS": {}}
        yield opened
        settings.BACKUP_DATABASE = None
        opened.execute("DROP ROLE keeper")


def test_what_another_role_restores_belongs_to_the_site(site, stored, backup_role, capsys):
    message, code = refuse(stored.name, replace=LIVE)
    assert ('GRANT "memory" TO "keeper"' in message, code) == (True, 1)
    backup_role.execute("GRANT memory TO keeper")
    erase_user(site)
    restore(capsys, stored.name, replace=LIVE)
    site.add("stored by the site's own role")
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
        assert cursor.fetchall() == [("memory",)]
        cursor.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
        assert cursor.fetchone() == ("memory",)
    assert read_stored_settings(connection).items() >= {"hnsw.ef_search": "200"}.items()


def test_a_key_that_was_revoked_since_is_not_valid_again(site, stored, capsys):
    key = ApiKey.objects.get()
    revoked_at = timezone.now()
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=revoked_at)
    restore(capsys, stored.name, replace=LIVE)
    assert ApiKey.objects.get().revoked_at == revoked_at


def test_a_backup_of_an_earlier_release_is_migrated_forward(site, capsys):
    call_command("migrate", "sessions_app", "0011", verbosity=0)
    earlier = make_backup()
    call_command("migrate", verbosity=0)
    erase_user(site)
    said = restore(capsys, earlier.name, replace=LIVE)
    assert "It was migrated forward from" in said and "1 erasure that came after it was repeated." in said
    assert not ErasedNamespace.objects.exists()
    assert find_lines(ERASED_USER, SECRET_WORD) == []
