"""A target that cannot be used is named in one sentence, soon, and the backup here stays good."""

import os
import threading

import pytest
from django.core.management import CommandError, call_command

from memory_site.operations.backups.folder import read_stored
from memory_site.operations.models import Backup
from memory_site.operations.offsite.copies import open_target
from memory_site.operations.offsite.target import OffsiteProblem, call_within
from memory_site.operations.offsite.work import copy_due_backups
from tests.s3 import BUCKET

pytestmark = pytest.mark.django_db
TROUBLE = [
    ("s3://no-such-bucket/site", "s3://no-such-bucket/site does not take .*: The specified bucket does not exist"),
    ("gs://bucket/site", "gs:// needs the package gcsfs, which is not installed: pip install gcsfs."),
    ("sftp://ada:sesame@example.invalid/site", "sftp:// needs the package paramiko, which is not installed: pip"),
    ("nothing://bucket", "nothing://bucket cannot be used: Protocol not known: nothing"),
    ("file:///proc/nothing", "file:///proc/nothing does not take .*: No such file or directory"),
    ("ftp://ada:sesame@127.0.0.1:1/site", "ftp://ada:…@127.0.0.1:1/site cannot be used: Connection refused"),
]


@pytest.mark.parametrize(("url", "message"), TROUBLE)
def test_the_reason_is_one_sentence_and_in_the_row(copy, settings, s3, monkeypatch, url, message):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    settings.BACKUP_TARGET = url
    stored = copy("plain")
    with pytest.raises(OffsiteProblem, match=message) as caught:
        copy_due_backups()
    assert "\n" not in str(caught.value) and "sesame" not in str(caught.value)
    row = Backup.objects.get()
    assert (row.offsite_state, row.offsite_error) == ("failed", str(caught.value))
    assert read_stored(stored.directory, stored.name).state == "written"


def test_a_server_that_is_away_is_reported_soon(copy, settings, s3, monkeypatch):
    for name, value in (s3 | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}).items():
        monkeypatch.setenv(name, value)
    settings.BACKUP_TARGET = f"s3://{BUCKET}/site"
    copy("plain")
    with pytest.raises(OffsiteProblem, match="cannot be listed: Could not connect to the endpoint URL"):
        copy_due_backups()


def test_a_call_that_never_returns_is_given_up():
    with pytest.raises(TimeoutError):
        call_within(0.1, threading.Event().wait)


def test_a_target_that_stores_something_else_has_no_copy(copy, settings, tmp_path, monkeypatch):
    """Whatever happens to the bytes on their way: they are read back."""
    settings.BACKUP_TARGET = f"file://{tmp_path}/elsewhere"
    stored, replace = copy("plain"), os.replace

    def flip_and_replace(source: str, target: str) -> None:
        with open(source, "r+b") as file:
            file.write(b"\x00")
        replace(source, target)

    monkeypatch.setattr(
        "memory_site.operations.offsite.target.Target._replace", lambda _, *paths: flip_and_replace(*paths)
    )
    with pytest.raises(OffsiteProblem, match=f"has not stored {stored.path.name} as it was sent"):
        copy_due_backups()
    monkeypatch.undo()
    assert stored.manifest_path.name not in open_target().list_files()
    assert Backup.objects.get().offsite_state == "failed"


def test_a_good_backup_that_cannot_be_copied_is_said_to_be_there(copy, settings, capsys):
    stored, settings.BACKUP_TARGET = copy("plain"), "gs://bucket/site"
    with pytest.raises(CommandError, match="gcsfs") as caught:
        call_command("list_backups", offsite=True)
    assert caught.value.returncode == 1
    call_command("list_backups", format="jsonl")
    assert stored.name in capsys.readouterr().out
