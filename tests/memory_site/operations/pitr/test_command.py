"""What `manage.py pitr` refuses, before anything is touched."""

from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command

from memory_site.embedded.data_dir import DataDirectory
from memory_site.operations.management.commands.pitr import parse_time
from memory_site.operations.pitr.facts import get_pitr_facts
from memory_site.operations.pitr.problems import UsageProblem
from memory_site.operations.pitr.status import build_status_rows


@pytest.fixture
def fresh(settings, tmp_path):
    """A site on which nothing was enabled, and no server runs."""
    settings.HOME = DataDirectory(tmp_path / "home")
    settings.BACKUP_DIR = tmp_path / "backups"
    return settings.HOME


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("yesterday", "'yesterday' is no time: write it like 2026-11-30T10:15:00Z, or `latest`."),
        ("2026-02-30T10:00:00Z", "is no time"),
        ("2026-11-30T10:15:00", "has no offset: write 2026-11-30T10:15:00Z"),
        ("2199-01-01T00:00:00Z", "is in the future"),
        ("", "is no time"),
    ],
)
def test_unreadable_times_are_refused(text, problem):
    with pytest.raises(UsageProblem) as refused:
        parse_time(text)
    assert problem in str(refused.value)


def test_times_with_an_offset_are_read():
    assert parse_time("2026-01-02T10:15:00+02:00") == datetime(2026, 1, 2, 8, 15, tzinfo=UTC)
    assert parse_time("2026-01-02 10:15:00.5Z") == datetime(2026, 1, 2, 10, 15, 0, 500_000, tzinfo=UTC)
    assert parse_time("latest") is None


@pytest.mark.parametrize("verb", ["base", "check", "drill", "disable"])
def test_what_needs_an_archive_says_so(fresh, verb):
    with pytest.raises(CommandError, match="run `manage.py pitr enable`") as refused:
        call_command("pitr", verb)
    assert refused.value.returncode == 1
    assert not (fresh.path / "postgres").exists()


def test_without_an_archive_there_is_nothing_to_recover_from(fresh, tmp_path):
    with pytest.raises(CommandError, match="does not exist: there is nothing to recover from") as refused:
        call_command("pitr", "restore", "--to", "latest", "--replace")
    assert refused.value.returncode == 1
    assert not (fresh.path / "postgres").exists()


@pytest.mark.parametrize("target", ["backups/pitr", "backups/pitr/wal/new", "home/postgres/new", "link/new"])
def test_a_target_inside_the_archive_or_the_database_is_refused(fresh, tmp_path, target):
    (tmp_path / "backups" / "pitr" / "base").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "backups" / "pitr" / "base")
    with pytest.raises(CommandError, match="is inside .*: name a new directory elsewhere") as refused:
        call_command("pitr", "restore", "--to", "latest", "--target", str(tmp_path / target))
    assert refused.value.returncode == 1
    assert not (tmp_path / "home").exists()


def test_a_limit_that_makes_no_sense_is_refused(fresh):
    with pytest.raises(CommandError, match="--max-waiting-mb must be from 16 to") as refused:
        call_command("pitr", "enable", "--max-waiting-mb", "1")
    assert refused.value.returncode == 2


def test_a_server_of_ones_own_is_archived_by_other_programs(settings):
    settings.EMBEDDED = False
    with pytest.raises(CommandError, match="pgBackRest or Barman") as refused:
        call_command("pitr", "enable")
    assert refused.value.returncode == 1
    assert not get_pitr_facts().enabled


def test_status_says_when_it_is_off(fresh, capsys):
    call_command("pitr", "status", "--format", "jsonl")
    assert '"archiving","state":"off"' in capsys.readouterr().out
    assert build_status_rows(get_pitr_facts())[0]["state"] == "off"
