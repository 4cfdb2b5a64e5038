"""A verification restores the backup and finds what is not as it was."""

import shutil

import psycopg
import pytest
from django.db import connection

from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.leases.leases import hold_lease
from memory_site.operations.backups import verify
from memory_site.operations.backups.contents import prepare_session
from memory_site.operations.backups.database import (
    connect,
    create_database,
    describe_database,
    drop_database,
    list_databases,
)
from memory_site.operations.backups.folder import read_stored
from memory_site.operations.backups.make import LEASE, make_backup
from memory_site.operations.backups.problems import BackupProblem
from memory_site.operations.backups.rows import sync_rows
from memory_site.operations.backups.searches import LEXEME_QUERY
from memory_site.operations.backups.verify import CannotVerify, get_scratch_prefix, verify_backup
from memory_site.operations.files import hash_file
from memory_site.operations.models import Backup
from tests.embedded.waiting import wait_for
from tests.memory_site.operations.backups.conftest import KEY

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_good_backup_is_verified_and_nothing_is_left(copy):
    stored, steps = copy("plain"), []
    with connect() as opened:
        create_database(f"{get_scratch_prefix()}0123abcd", describe_database(opened))  # a killed verification's
    verified = verify_backup(stored, on_progress=lambda share, what: steps.append((share, what)))
    assert (verified.state, verified.message) == ("verified", "")
    assert read_stored(stored.directory, stored.name) == verified
    assert verified.verification["restore_seconds"] > 0
    row = Backup.objects.latest_verified()
    assert (row.name, row.state, row.size_bytes) == (stored.name, "verified", stored.path.stat().st_size)
    assert row.verified_at and row.restore_seconds
    assert list_databases(get_scratch_prefix()) == []
    assert steps == sorted(steps) and {what for _, what in steps} >= {"reading the file", "comparing rows"}
    assert stored.manifest["tables"]["public.memories_embedding"]["rows"] == 40


def test_an_encrypted_backup_is_verified_without_a_plain_file(copy, settings, tmp_path):
    stored, settings.BACKUP_ENCRYPTION_KEYS = copy("encrypted"), [KEY]
    assert b"PGDMP" not in stored.path.read_bytes()
    assert verify_backup(stored).state == "verified"
    assert {path.suffix for path in stored.directory.iterdir()} == {".enc", ".json"}


def test_a_dump_of_other_rows_with_a_right_signature_is_bad(copy):
    stored, other = copy("plain"), copy("changed")
    stored.path.write_bytes(other.path.read_bytes())
    stored = stored.change(sha256=hash_file(stored.path), size=stored.path.stat().st_size)
    found = verify_backup(stored)
    assert found.state == "bad"
    assert found.message.startswith(f"{stored.path.name} does not restore as it was: ")
    assert "public.memories_embedding has 39 rows instead of 40." in found.message
    assert "public.memories_memory has as many rows, 40, but not the same ones." in found.message
    assert Backup.objects.get(name=stored.name).state == "bad"
    assert Backup.objects.latest_verified() is None
    assert list_databases(get_scratch_prefix()) == []


def test_a_file_that_is_no_dump_is_bad_though_its_hash_is_right(copy):
    stored = copy("plain")
    stored.path.write_bytes(stored.path.read_bytes()[:2000])
    stored = stored.change(sha256=hash_file(stored.path), size=2000)
    found = verify_backup(stored)
    assert (found.state, stored.path.name in found.message) == ("bad", True)


def test_a_damaged_file_is_bad_without_a_restore(copy, monkeypatch):
    stored = copy("plain")
    monkeypatch.setattr(verify, "restore_into", lambda *arguments, **options: pytest.fail("restored"))
    data = bytearray(stored.path.read_bytes())
    data[len(data) // 2] ^= 1
    stored.path.write_bytes(data)
    assert verify_backup(stored).message == f"{stored.path.name} is damaged: its SHA-256 is not the manifest's."


def test_a_missing_key_and_another_secret_key_say_nothing_about_the_backup(copy, settings):
    stored = copy("encrypted")
    with pytest.raises(CannotVerify, match=f"{stored.path.name} is encrypted with the key .* is empty"):
        verify_backup(stored)
    settings.SECRET_KEY = "of another site, which is long enough to be one"
    with pytest.raises(CannotVerify, match="another SECRET_KEY"):
        verify_backup(read_stored(stored.directory, stored.name))
    sync_rows(stored.directory)
    assert Backup.objects.get(name=stored.name).state == "bad"  # for this site


def test_without_room_for_a_scratch_database_nothing_is_verified(copy, monkeypatch):
    stored = copy("plain")
    full = shutil._ntuple_diskusage(100 * 2**30, 96 * 2**30, 4 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(CannotVerify, match="There is no room for a scratch database"):
        verify_backup(stored)
    assert read_stored(stored.directory, stored.name).state == "written"


def test_while_another_process_works_with_the_backups_nothing_is_verified(copy):
    stored = copy("plain")
    with hold_lease(LEASE), pytest.raises(AlreadyRunning, match="Nothing was done"):
        verify_backup(stored)


@pytest.fixture
def eager_autovacuum(settings):
    """Let autovacuum look at each database after a second."""
    superuser = connection.settings_dict | {"USER": "postgres", "PASSWORD": settings.HOME.secret("postgres")}
    settings.BACKUP_DATABASE = {**superuser, "OPTIONS": {}}
    with connect() as opened:
        settings.BACKUP_DATABASE = None
        opened.execute("ALTER SYSTEM SET autovacuum_naptime = 1")
        opened.execute("SELECT pg_reload_conf()")
        yield
        opened.execute("ALTER SYSTEM RESET autovacuum_naptime")
        opened.execute("SELECT pg_reload_conf()")


SLOWLY_VACUUMED_SQL = """
CREATE TABLE rows WITH (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_cost_limit = 1,
    autovacuum_vacuum_cost_delay = 100) AS SELECT generate_series(1, 100000) AS number
"""
IS_VACUUMED_SQL = """
SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND usesysid IS NULL
"""


def test_a_scratch_database_is_dropped_although_autovacuum_is_in_it(copy, eager_autovacuum):
    scratch = f"{get_scratch_prefix()}0123abcd"
    with connect() as opened:
        create_database(scratch, describe_database(opened))
    with connect(scratch) as opened:
        opened.execute(SLOWLY_VACUUMED_SQL)
        opened.execute("DELETE FROM rows WHERE number % 2 = 0")
        assert wait_for(lambda: opened.execute(IS_VACUUMED_SQL).fetchone() == (True,))
    drop_database(scratch)
    assert list_databases(get_scratch_prefix()) == []


@pytest.fixture
def poor_role(settings):
    """Log in as a role that may read every table, and create no database."""
    superuser = connection.settings_dict | {"USER": "postgres", "PASSWORD": settings.HOME.secret("postgres")}
    settings.BACKUP_DATABASE = {**superuser, "OPTIONS": {}}
    with connect() as opened:
        opened.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
        opened.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO poor")
        opened.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO poor")
        settings.BACKUP_DATABASE = {**superuser, "USER": "poor", "PASSWORD": "poor", "OPTIONS": {}}
        yield opened
        opened.execute("ALTER TABLE memories_memory DISABLE ROW LEVEL SECURITY")
        opened.execute("DROP OWNED BY poor; DROP ROLE poor")


def test_a_role_without_the_right_to_create_databases_is_told_so(copy, poor_role):
    stored = copy("plain")
    with pytest.raises(CannotVerify, match='ALTER ROLE "poor" CREATEDB'):
        verify_backup(stored)
    assert read_stored(stored.directory, stored.name).state == "written"


def test_a_role_that_may_not_see_every_row_makes_no_backup(folder, poor_role):
    poor_role.execute("ALTER TABLE memories_memory ENABLE ROW LEVEL SECURITY")
    with pytest.raises(BackupProblem, match="row-level security policy for table .*memories_memory"):
        make_backup()
    poor_role.execute("ALTER TABLE memories_memory DISABLE ROW LEVEL SECURITY")
    poor_role.execute("REVOKE SELECT ON memories_memory FROM poor")
    with pytest.raises(BackupProblem, match="permission denied for table memories_memory"):
        make_backup()
    assert list(folder.iterdir()) == []
    assert [row.state for row in Backup.objects.all()] == ["bad", "bad"]


def test_rows_that_a_policy_hides_cannot_be_counted(poor_role):
    """Without this pg_dump and the count might agree on an empty table."""
    poor_role.execute("ALTER TABLE memories_memory ENABLE ROW LEVEL SECURITY")
    with connect() as opened, opened.transaction():
        prepare_session(opened, parallel=False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            opened.execute("SELECT count(*) FROM public.memories_memory")


@pytest.mark.parametrize("word", ["plain", "o'clock", r"c:\path", "'", "\\", r"\'", "a b", "!x | y"])
def test_a_word_of_any_characters_is_searched_as_it_is(word):
    with connect() as opened:
        statement = f"SELECT array_to_tsvector(ARRAY[%s]) @@ {LEXEME_QUERY}"
        assert opened.execute(statement, [word, word]).fetchone() == (True,)
        assert opened.execute(statement, [f"{word}x", word]).fetchone() == (False,)
