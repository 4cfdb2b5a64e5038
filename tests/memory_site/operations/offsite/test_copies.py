"""A good backup has a copy elsewhere that is read back, and comes back from there on an empty machine."""

import shutil
from datetime import UTC, datetime

import pytest
from django.core.management import call_command

from memory_site.core.db.ids import uuid7
from memory_site.operations.backups.folder import check_file
from memory_site.operations.backups.problems import UnknownBackup
from memory_site.operations.erasures.entries import Entry, Kind
from memory_site.operations.erasures.ledger import LedgerProblem, append_missing, read_ledger
from memory_site.operations.erasures.sources import read_with_copy
from memory_site.operations.models import Backup
from memory_site.operations.offsite.copies import find_anywhere, list_copies, open_target
from memory_site.operations.offsite.tasks import append_erasures, copy_new_backups
from memory_site.operations.offsite.work import copy_due_backups, rotate_copies

pytestmark = pytest.mark.django_db
VERIFIED = {"state": "verified", "at": "2026-11-30T03:00:00+00:00"}


def make_entry(number: int) -> Entry:
    return Entry(uuid7(), Kind.ROWS, number, datetime(2026, 11, 30, tzinfo=UTC))


def test_a_copy_is_made_once_listed_and_fetched_on_an_empty_machine(copy, folder, url, capsys):
    stored, shares = copy("plain"), []
    assert copy_due_backups(lambda share, what: shares.append(share)) == [stored]
    assert copy_new_backups() == 0
    assert shares[-1] == 1 and shares == sorted(shares)
    row = Backup.objects.get()
    assert (row.offsite_state, row.offsite_url) == ("copied", f"{url}/{stored.path.name}")
    assert set(open_target().list_files()) == {stored.path.name, stored.manifest_path.name}
    call_command("list_backups", offsite=True, format="jsonl")
    assert stored.name in capsys.readouterr().out
    shutil.rmtree(folder)
    assert find_anywhere("latest") == stored
    check_file(find_anywhere(stored.name))
    assert (folder / stored.path.name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(UnknownBackup, match="neither in .* nor at"):
        find_anywhere("nothing")


def test_a_copy_of_the_future_is_not_the_latest(copy, folder, url):
    copy("plain").change(started_at="2199-01-01T00:00:00+00:00", verification=VERIFIED)
    other = copy("encrypted").change(verification=VERIFIED)
    copy_due_backups()
    shutil.rmtree(folder)
    assert find_anywhere("latest").name == other.name


def test_a_changed_manifest_is_copied_alone_and_a_damaged_copy_again(copy, url, monkeypatch):
    stored = copy("encrypted")
    target = open_target()
    copy_due_backups()
    changed = stored.change(pinned=True)
    with monkeypatch.context() as patch:
        patch.setattr("memory_site.operations.offsite.target.Target.upload", lambda *arguments: pytest.fail("upload"))
        assert copy_due_backups() == [changed]
    assert target.read(stored.manifest_path.name) == stored.manifest_path.read_bytes()
    target.write(stored.path.name, b"cut")
    [copied] = list_copies(target, stored.directory)
    assert copied.problem == f"{target.url} has no whole copy of {stored.name}."
    assert copy_due_backups() == [changed]
    assert list_copies(target, stored.directory)[0].problem == ""


def test_a_folder_is_its_owners_alone(copy, settings, tmp_path):
    settings.BACKUP_TARGET = f"file://{tmp_path}/deep/elsewhere"
    copy("plain")
    copy_due_backups()
    folder = tmp_path / "deep" / "elsewhere"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_copies_are_rotated_by_their_own_manifests(copy, folder, url, settings):
    settings.BACKUP_RETENTION_WEEKS = settings.BACKUP_RETENTION_MONTHS = 0
    old = copy("plain").change(started_at="2026-01-01T00:00:00+00:00", verification=VERIFIED)
    new = copy("changed").change(verification=VERIFIED)
    copy_due_backups()
    shutil.rmtree(folder)
    assert [copy.name for copy in rotate_copies(dry_run=True)] == [old.name]
    assert [copy.name for copy in rotate_copies()] == [old.name]
    assert set(open_target().list_files()) == {new.path.name, new.manifest_path.name}


def test_both_copies_of_the_ledger_get_what_the_other_has(folder, url):
    path, other = folder / "erasures.jsonl", folder / "other.jsonl"
    mine, theirs = make_entry(1), make_entry(2)
    append_missing(path, [mine])
    append_missing(other, [theirs])
    open_target().write("erasures.jsonl", other.read_bytes())
    append_erasures()
    assert read_ledger(path).entries == {mine.id: mine, theirs.id: theirs}
    path.write_bytes(b"damaged, all of it\n")
    ledger = read_with_copy(path, is_known_here=False)
    ledger.require_whole()
    assert set(ledger.entries) == {mine.id, theirs.id}
    path.unlink()
    append_erasures()
    assert not path.exists()  # nothing was erased here
    assert set(read_with_copy(path, is_known_here=False).entries) == {mine.id, theirs.id}


def test_a_target_that_is_away_stops_a_restore_only_where_nothing_is_known_of_erasures(folder, settings):
    settings.BACKUP_TARGET = "gs://bucket/site"
    path = folder / "erasures.jsonl"
    with pytest.raises(LedgerProblem, match="What was erased is not known here, and gs:// needs"):
        read_with_copy(path, is_known_here=False)
    assert read_with_copy(path, is_known_here=True).entries == {}
