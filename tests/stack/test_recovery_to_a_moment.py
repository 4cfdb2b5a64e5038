"""The essential of recovery to a moment, on a running site: what was written before the moment, and no more."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.postgres import Postgres
from tests.stack.stack import Stack, create_short_directory, run_manage, wait_until

BEFORE, AFTER = "The ferry leaves at seven.", "The ferry was cancelled."
SECRET = "Eve hides the key under the mat."


def pitr(stack: Stack, *arguments: str):
    return run_manage("pitr", *arguments, **stack.environment)


@pytest.fixture(scope="module")
def archived(shaken: Stack) -> Iterator[Stack]:
    """The site with recovery to a moment, and afterwards without it."""
    enabled = pitr(shaken, "enable", "--archive-timeout", "3600")
    assert enabled.returncode == 0, enabled.stderr
    assert "can be recovered" in enabled.stdout
    wait_until(lambda: shaken.page("/health/ready").status == 200, 60, "the database is back")
    yield shaken
    assert pitr(shaken, "disable").returncode == 0
    shutil.rmtree(shaken.data / "backups" / "pitr")


@pytest.fixture(scope="module")
def moment(archived: Stack) -> str:
    """A time between two writes; a user is erased after it."""
    archived.add(BEFORE)
    archived.add(SECRET, user_id="eve")
    (now,) = archived.rows("SELECT clock_timestamp()")[0]
    archived.add(AFTER)
    assert archived.call("DELETE", "/users/eve").status == 200
    assert archived.call("POST", "/memories/delete", {"filters": {"source_system": "api"}}).status == 200
    return now.isoformat()


def test_a_moment_between_two_writes_comes_back_beside_the_running_site(archived: Stack, moment: str) -> None:
    with create_short_directory() as directory:
        other = DataDirectory(directory / "home")
        other.prepare()
        restored = pitr(archived, "restore", "--to", moment, "--target", str(other.path / "postgres"))
        assert restored.returncode == 0, restored.stderr
        assert "1 erasures of later were repeated" in restored.stdout
        contents = read_contents(other, archived.data)
    assert BEFORE in contents
    assert AFTER not in contents
    assert SECRET not in contents


def read_contents(other: DataDirectory, data: Path) -> set[str]:
    """Start the recovered database, and return what it remembers."""
    shutil.copytree(data / "secrets", other.path / "secrets", dirs_exist_ok=True)
    site = Stack(other.path.parent)
    site.data = other.path
    with Postgres(other):
        return {content for (content,) in site.rows("SELECT content FROM memories_memory")}


def test_the_place_of_a_running_database_is_not_taken(archived: Stack, moment: str) -> None:
    refused = pitr(archived, "restore", "--to", moment, "--replace")
    assert refused.returncode == 1
    assert "is already served by process" in refused.stderr
    assert "Nothing was changed." in refused.stderr


def test_the_drill_compares_every_table_of_the_site(archived: Stack) -> None:
    drill = pitr(archived, "drill")
    assert drill.returncode == 0, drill.stderr
    assert "Every table is as it was at that time." in drill.stdout
    status = {row["item"]: row["state"] for row in json.loads(pitr(archived, "status", "--format", "json").stdout)}
    assert (status["archiving"], status["drill"]) == ("on", "passed")
