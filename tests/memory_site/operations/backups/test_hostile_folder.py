"""Foreign files in the folder of backups: they are named or left alone, and stop nothing."""

import json
import os

import pytest

from memory_site.operations.backups import folder, verify
from memory_site.operations.backups.folder import find_stored, list_stored
from memory_site.operations.backups.programs import ProgramFailed
from memory_site.operations.backups.rows import sync_rows
from tests.memory_site.operations.backups.test_commands import run

pytestmark = pytest.mark.django_db(transaction=True)
VERIFIED = {"state": "verified", "at": "2026-11-30T03:00:00+00:00"}
SIGNATURE = b',\n "signature": "%s"\n}\n' % (b"0" * 64)


def sign_falsely(**values: object) -> bytes:
    manifest = {"format": 1, "name": "x", "file": "x.dump", "size": 3, "started_at": "2026-01-01T00:00:00Z", **values}
    return json.dumps(manifest, indent=1).encode().removesuffix(b"\n}") + SIGNATURE


@pytest.mark.parametrize(
    "data",
    [
        sign_falsely(signed_by="a", started_at="2026-01-01"),
        sign_falsely(signed_by="a", started_at="0001-01-01T00:00:00+14:00"),
        sign_falsely(signed_by="a", size=1 << 70),
        sign_falsely(signed_by="a", size=[], file={}),
        sign_falsely(signed_by="a", written_at=5, verification="verified", pinned=[]),
        b'{"format": ' + b"[" * 200_000 + b"]" * 200_000 + SIGNATURE,
        b"\0\0\0",
    ],
    ids=["no offset", "before year 1", "huge", "other types", "other values", "nested", "NUL"],
)
def test_a_hostile_manifest_is_listed_and_hides_no_other_backup(copy, data):
    stored = copy("plain")
    (stored.directory / "x.json").write_bytes(data)
    states = {each.name: each.state for each in sync_rows(stored.directory)}
    assert states[stored.name] == "written" and states["x"] in ("bad", "foreign")
    assert run("list_backups")[2] == 0


def test_links_pipes_and_strange_names_stop_nothing(copy):
    stored = copy("plain")
    (stored.directory / "dangling.json").symlink_to("/nonexistent")
    (stored.directory / "endless.json").symlink_to("/dev/zero")
    (stored.directory / "directory.json").mkdir()
    os.mkfifo(stored.directory / "pipe.json")
    for name in (b"\xff\n\x1b[31m.json", b"a" * 200 + b".json"):
        (stored.directory / os.fsdecode(name)).write_bytes(stored.manifest_path.read_bytes())
    listed = {each.name: each.state for each in sync_rows(stored.directory)}
    bad = dict.fromkeys(("dangling", "endless", "directory", "pipe"), "bad")
    assert listed == {stored.name: "written", **bad}


def test_a_manifest_that_is_deleted_meanwhile_is_not_listed(copy, monkeypatch):
    stored, other = copy("plain"), copy("changed")

    def delete_first(directory, name):
        stored.manifest_path.unlink(missing_ok=True)
        return read(directory, name)

    read = folder.read_stored
    monkeypatch.setattr(folder, "read_stored", delete_first)
    assert [each.name for each in list_stored(stored.directory)] == [other.name]


def test_a_senseless_number_of_processes_does_not_make_a_backup_bad(copy):
    stored = copy("plain")
    for jobs in ("-3", "0", "100000", "x", "9" * 5000):
        out, err, code = run("verify_backup", stored.name, f"--jobs={jobs}")
        assert (out, "must be from 1 to 64" in err) == ("", True), code
    assert list_stored(stored.directory)[0].state == "written"


def test_a_backup_of_the_future_is_the_latest_only_if_no_other_is_verified(copy):
    future, other = copy("plain").change(started_at="2199-01-01T00:00:00+00:00", verification=VERIFIED), copy("changed")
    assert find_stored("latest") == future
    other.change(verification=VERIFIED)
    assert find_stored("latest").name == other.name


def test_pinning_an_empty_name_deletes_nothing(copy, settings):
    stored, settings.BACKUP_RETENTION_DAYS = copy("plain"), 1
    assert run("rotate_backups", "--pin=")[1:] == (
        f"There is no backup '' in {stored.directory} (existing: {stored.name}).",
        2,
    )


def test_a_program_that_a_signal_ended_says_nothing_about_the_backup(copy, monkeypatch):
    stored = copy("plain")

    def be_killed(*arguments, **options):
        raise ProgramFailed("pg_restore", "exit code -9")

    monkeypatch.setattr(verify, "restore_into", be_killed)
    assert run("verify_backup", stored.name) == ("", "pg_restore failed: exit code -9", 1)
    assert list_stored(stored.directory)[0].state == "written"


def test_a_backup_that_needs_another_key_does_not_keep_the_others_from_their_verification(copy):
    encrypted, plain = copy("encrypted"), copy("plain")
    out, err, code = run("verify_backup", "--all")
    assert f"{encrypted.name}: not verified. {encrypted.path.name} is encrypted with the key" in out
    assert f"{plain.name}: verified. " in out
    assert (err, code) == ("A backup could not be verified.", 1)
