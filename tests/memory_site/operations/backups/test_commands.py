"""The commands about backups, as an operator uses them."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from memory_site.core.leases.leases import hold_lease
from memory_site.operations.backups import folder as folders
from memory_site.operations.backups.folder import read_stored
from memory_site.operations.backups.make import LEASE
from memory_site.operations.models import Backup

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str) -> tuple[str, str, int]:
    """Return what a command wrote to stdout and stderr, and its exit code."""
    out, err = StringIO(), StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue(), str(error), error.returncode
    return out.getvalue(), err.getvalue(), 0


def list_json() -> list[dict]:
    return json.loads(run("list_backups", "--format", "json")[0])


def test_a_backup_is_made_verified_listed_and_pinned(folder):
    out, err, code = run("backup")
    (listed,) = list_json()
    assert (code, out.strip()) == (0, str(folder / f"{listed['name']}.dump"))
    assert f"verify_backup {listed['name']}" in err
    assert (listed["state"], listed["verified_at"], listed["pinned"], listed["offsite"]) == (
        "written",
        None,
        False,
        "none",
    )

    out, err, code = run("verify_backup")
    assert (code, out.startswith(f"{listed['name']}: verified. ")) == (0, True)
    assert run("rotate_backups", "--pin", listed["name"])[0] == f"{listed['name']} is pinned.\n"
    (listed,) = list_json()
    assert (listed["state"], listed["pinned"]) == ("verified", True)
    assert listed["restore_seconds"] > 0
    assert Backup.objects.get().pinned
    assert run("rotate_backups", "--unpin", "latest")[0] == f"{listed['name']} is no longer pinned.\n"

    table, _, _ = run("list_backups")
    assert table.split()[:3] == ["name", "state", "started_at"] and listed["name"] in table
    line, _, _ = run("list_backups", "--format", "jsonl")
    assert json.loads(line)["name"] == listed["name"]


def test_a_bad_backup_is_exit_code_3_and_names_the_file(copy):
    stored = copy("plain")
    stored.path.write_bytes(stored.path.read_bytes()[:-1])
    out, err, code = run("verify_backup", stored.name)
    assert (code, err) == (3, "A backup is bad.")
    assert out.startswith(f"{stored.name}: bad. {stored.path.name} has ")
    assert Backup.objects.get(name=stored.name).state == "bad"


@pytest.mark.parametrize("arguments", [("verify_backup", "memory-1"), ("rotate_backups", "--pin", "../memory-1")])
def test_an_unknown_backup_is_exit_code_2_and_the_known_ones_are_named(copy, arguments):
    stored = copy("plain")
    assert run(*arguments)[1:] == (
        f"There is no backup {arguments[-1]!r} in {stored.directory} (existing: {stored.name}).",
        2,
    )


def test_an_empty_folder_is_said(folder):
    assert run("list_backups")[1].strip() == f"There is no backup in {folder}; `backup` makes one."
    assert list_json() == []
    assert run("verify_backup")[1:] == (f"There is no backup in {folder}; `backup` makes one.", 2)
    assert run("verify_backup", "--all")[2] == 2
    assert run("rotate_backups")[1].startswith("0 backups were deleted. Kept are 30 days, 8 weeks, 12 months.")


@pytest.mark.parametrize("command", ["backup", "verify_backup", "rotate_backups"])
def test_a_second_command_is_exit_code_1(copy, command):
    copy("plain")
    with hold_lease(LEASE):
        out, err, code = run(command)
    assert (out, code) == ("", 1)
    assert err.startswith("Another process makes, verifies or rotates backups")


@pytest.mark.parametrize("command", ["backup", "verify_backup", "list_backups", "rotate_backups"])
def test_without_a_directory_there_is_one_sentence(settings, command):
    settings.BACKUP_DIR = None
    assert run(command)[1:] == (folders.NOT_CONFIGURED, 1)


def test_foreign_and_unreadable_manifests_are_listed_as_such(copy, settings):
    foreign, broken, secret = copy("plain"), copy("changed"), settings.SECRET_KEY
    broken.manifest_path.write_text("{}")
    settings.SECRET_KEY = "of another site, which is long enough to be one"
    foreign.change(pinned=True)
    settings.SECRET_KEY = secret
    states = {each["name"]: (each["state"], each["message"]) for each in list_json()}
    assert states[foreign.name][0] == "foreign" and "another SECRET_KEY" in states[foreign.name][1]
    assert states[broken.name][0] == "bad" and broken.manifest_path.name in states[broken.name][1]
    out, err, code = run("rotate_backups", "--pin", foreign.name)
    assert (out, code, "another SECRET_KEY" in err) == ("", 1, True)


def test_rotation_deletes_what_it_said_it_would(copy, settings):
    old, young, settings.BACKUP_RETENTION_WEEKS = copy("plain"), copy("changed"), 0
    settings.BACKUP_RETENTION_MONTHS = 0
    verified = {"state": "verified", "at": young.manifest["written_at"], "message": "", "restore_seconds": 1.0}
    young.change(verification=verified)
    old.change(started_at="2020-01-01T00:00:00+00:00")
    assert run("rotate_backups", "--dry-run")[0].startswith(old.name)
    assert len(list_json()) == 2
    assert run("rotate_backups")[0].startswith(old.name)
    assert [each["name"] for each in list_json()] == [young.name]
    assert {path.name for path in young.directory.iterdir()} == {young.path.name, young.manifest_path.name}
    assert list(Backup.objects.values_list("name", "state")) == [(young.name, "verified")]
    assert read_stored(young.directory, young.name).state == "verified"
