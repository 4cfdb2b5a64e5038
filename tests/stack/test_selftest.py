"""The operator's self-tests, and that they fail when something is broken."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError, call_command

from memory_site.operations.selftest import faults, isolation, scratch_site
from memory_site.operations.selftest.isolation import run_owned_site
from memory_site.operations.selftest.journal import Journal, compare_with_site, run_clients
from tests.stack.stack import MANAGE, Stack, build_environment, find_processes, wait_until


@pytest.fixture(scope="module")
def owned():
    """A site with one namespace's rows of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch_site, "ScratchSite", Stack)
        with run_owned_site() as made:
            yield made


@pytest.fixture
def run(owned, monkeypatch):
    """Run `selftest isolation --short` on the site that is there already; return exit code and rows."""

    @contextmanager
    def give_owned():
        yield owned

    def run() -> tuple[int, dict[str, dict]]:
        output = StringIO()
        try:
            call_command("selftest", "isolation", "--short", "--format", "json", stdout=output)
            code = 0
        except CommandError as error:
            code = error.returncode
        return code, {row["trial"]: row for row in json.loads(output.getvalue())}

    monkeypatch.setattr(isolation, "run_owned_site", give_owned)
    return run


def test_no_other_key_sees_or_changes_anything(run):
    code, rows = run()
    assert code == 0, rows
    assert len(rows) == 6
    assert all(row["done"] >= 20 and row["LEAK"] == 0 for row in rows.values())


def test_a_journal_finds_what_is_lost_stored_twice_or_has_an_old_vector(owned):
    site, *_ = owned
    journal = Journal()
    with run_clients(site, journal, ["a", "b"]):
        wait_until(lambda: len(journal.memories) > 5 and journal.acknowledged >= 10, 60, "some memories")
        wait_until(lambda: "client-a asks number 1" in journal.interactions, 60, "an interaction of the first client")
    sound = compare_with_site(site, journal, lambda: faults.wait_for_vectors(site))
    assert sound.passed, sound
    assert sound.done == journal.acknowledged >= 10
    first, second, third, *_ = journal.memories
    with site.connect() as database:
        database.execute("DELETE FROM memories_memory WHERE id = %s", [first])
        database.execute("UPDATE memories_embedding SET content_hash = 'old' WHERE memory_id = %s", [second])
        database.execute("UPDATE memories_memory SET user_id = 'client-x' WHERE id = %s", [third])
        database.execute(
            "UPDATE sessions_app_sessionmemory SET history = history || (history -> 0) WHERE session_id = 'client-a-0'"
        )
    broken = compare_with_site(site, journal, lambda: None)
    assert (broken.lost, broken.stale, broken.dup) == (1, 1, 1)
    assert not broken.passed


def test_a_key_that_sees_too_much_is_a_leak(run, owned, monkeypatch):
    _, owner, _ = owned
    monkeypatch.setattr(isolation, "create_key", lambda site, namespace, *scopes: owner.key)
    code, rows = run()
    assert code == 3
    assert rows["another namespace reads"]["LEAK"] >= 10
    assert rows["a key that may only read"]["LEAK"] > 30
    assert "memories_memory" in rows["the owner's rows are unchanged"]["note"]


def test_an_interrupted_run_leaves_nothing():
    argv = [sys.executable, str(MANAGE), "selftest", "faults", "--short"]
    process = subprocess.Popen(argv, env=build_environment(), stderr=subprocess.PIPE, text=True)
    serving = psutil.Process(process.pid)
    wait_until(lambda: len(serving.children(recursive=True)) > 1, 60, "the scratch site starts its servers")
    directory = Path(serving.children()[0].environ()["DATA_DIR"]).parent
    assert find_processes(directory)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "CommandError: Interrupted; the scratch site is removed."
    assert find_processes(directory) == []
    assert not directory.exists()


def test_without_the_bundled_servers_it_says_so_in_one_sentence(monkeypatch):
    monkeypatch.setattr("memory_site.embedded.postgres.POSTGRES_PACKAGE", "not_installed_here")
    with pytest.raises(CommandError, match="^The bundled PostgreSQL is not installed"):
        call_command("selftest", "isolation")
