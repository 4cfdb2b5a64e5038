"""Code of an older release on a database of a newer one: it says so, and changes nothing."""

import threading
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from memories import tasks
from memories.models import Memory
from memory_site import __version__
from memory_site.core.releases import compatibility
from memory_site.core.releases.compatibility import FoundRelease, NewerDatabase, parse_release
from memory_site.core.releases.models import DatabaseRelease
from memory_site.core.releases.watch import release_watch
from memory_site.operations import heartbeats
from memory_site.operations.health.migrations import check_migrations
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.management.commands import migrate, serve
from memory_site.operations.models import Heartbeat
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
FUTURE = ("memories", "9999_a_column_less")
SENTENCE = (
    f"The database is of release 9.1.0, which works with 9.0.0 and later; this is release {__version__}. Replace it by "
    "9.1.0, or restore a backup made before the upgrade."
)


def migrate_by(release: str, oldest_release: str) -> None:
    """Leave the database as the migrations of another release do."""
    MigrationRecorder(connection).record_applied(*FUTURE)
    DatabaseRelease.objects.update_or_create(pk=1, defaults={"release": release, "oldest_release": oldest_release})


@pytest.fixture
def incompatible():
    migrate_by("9.1.0", "9.0.0")


@pytest.fixture
def compatible():
    migrate_by("9.1.0", "0.0.1")


@pytest.fixture
def watching():
    """A process that looks at the release, and forgets it at the end."""
    yield release_watch
    release_watch.refusal = None


def run_refused(command: str, *words: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command(command, *words)
    return caught.value


# What a release says of itself


def test_the_database_names_the_release_that_migrated_it():
    assert compatibility.find_release() == FoundRelease(__version__, compatibility.OLDEST_RELEASE)


def test_a_second_migrate_of_the_same_release_changes_no_row():
    before = DatabaseRelease.objects.values().get()
    compatibility.note_release()
    assert DatabaseRelease.objects.values().get() == before


def test_a_release_works_with_its_own_database():
    assert parse_release(compatibility.OLDEST_RELEASE) <= parse_release(__version__)
    compatibility.require_fitting_release()


def test_the_documented_table_is_that_of_this_release(settings):
    text = (settings.BASE_DIR / "docs/upgrade.md").read_text()
    assert f"| {__version__} | {compatibility.OLDEST_RELEASE} and later |" in text


@pytest.mark.parametrize(
    ("older", "newer"), [("0.1.0", "0.1.1"), ("0.9.0", "0.10.0"), ("1.2.3", "2.0.0"), ("1.0.0", "1.0.0.1")]
)
def test_releases_are_compared_by_their_numbers(older, newer):
    assert parse_release(older) < parse_release(newer)


# Commands


def test_migrate_refuses_a_database_of_a_newer_release(incompatible):
    error = run_refused("migrate", "--verbosity", "0")
    assert (error.returncode, str(error)) == (1, f"{SENTENCE} Nothing was migrated.")


def test_migrate_refuses_a_newer_database_with_which_it_works(compatible):
    assert str(run_refused("migrate", "--verbosity", "0")) == (
        f"The database is of the newer release 9.1.0, with which this one, {__version__}, works. Nothing was migrated."
    )


def test_migrate_refuses_migrations_that_it_does_not_know():
    """Of a release that was never published, as between two checkouts."""
    MigrationRecorder(connection).record_applied(*FUTURE)
    error = run_refused("migrate", "--verbosity", "0")
    assert (error.returncode, "it has memories.9999_a_column_less, which release" in str(error)) == (1, True)


def test_migrate_of_one_app_backwards_is_refused_too(incompatible):
    assert run_refused("migrate", "memories", "0001", "--verbosity", "0").returncode == 1


def test_serve_refuses_or_leaves_the_newer_database_as_it_is(incompatible, capsys):
    command = serve.Command()
    with pytest.raises(CommandError, match="this is release"):
        command._migrate()
    migrate_by("9.1.0", __version__)
    before = DatabaseRelease.objects.values().get()
    command._migrate()
    assert "works. It is not migrated" in capsys.readouterr().err
    assert DatabaseRelease.objects.values().get() == before


@pytest.mark.parametrize("words", [("recent",), ("delete_expired",), ("reembed",)])
def test_commands_refuse_it_with_one_sentence(namespace, incompatible, words):
    error = run_refused(*words)
    assert (error.returncode, str(error)) == (1, SENTENCE)


def test_commands_go_on_where_both_work_together(namespace, compatible, capsys):
    call_command("recent", "--namespace", "ours")
    assert capsys.readouterr().err == "Nothing.\n"


# Processes that run meanwhile


def test_a_web_process_answers_503_until_the_database_fits(api, console, watching):
    stored = api.add("before the upgrade")
    migrate_by("9.1.0", "9.0.0")
    watching.look()
    for response in (api.get(f"/memories/{stored['id']}"), api.post("/memories", {"content": "after it"})):
        assert is_problem(response, 503)
        assert response.json()["detail"] == SENTENCE
        assert response["Retry-After"] == "5"
    assert console.get("/admin/").status_code == 503
    assert api.client.get("/health/live").status_code == 200
    assert Memory.objects.count() == 1
    migrate_by("9.1.0", "0.1.0")
    watching.look()
    assert api.get(f"/memories/{stored['id']}").status_code == 200


def test_a_worker_does_nothing(api, watching, incompatible):
    Memory.objects.filter(pk=api.add("tea")["id"]).update(expires_at="2020-01-01T00:00:00Z")
    watching.look()
    outcome = tasks.delete_expired.apply()
    assert (outcome.state, type(outcome.result), str(outcome.result)) == ("FAILURE", NewerDatabase, SENTENCE)
    assert Memory.objects.count() == 1


def test_the_log_says_it_once(watching, incompatible, caplog):
    watching.look()
    watching.look()
    DatabaseRelease.objects.update(release=__version__, oldest_release=__version__)
    watching.look()
    said = [record.message for record in caplog.records if record.thread == threading.get_ident()]
    assert said == [SENTENCE, "The database works with this release again."]


# Health


def test_health_says_that_the_database_is_newer(incompatible):
    status, message, mend = check_migrations()
    assert (status, message) == (HealthStatus.UNHEALTHY, SENTENCE)
    assert "docs/upgrade.md" in mend
    migrate_by("9.1.0", "0.1.0")
    status, message, _ = check_migrations()
    assert (status, "newer release 9.1.0, with which this one" in message) == (HealthStatus.DEGRADED, True)


def test_health_names_migrations_that_it_does_not_know():
    for number in range(5):
        MigrationRecorder(connection).record_applied("memories", f"999{number}_future")
    status, message, _ = check_migrations()
    assert status is HealthStatus.DEGRADED
    assert "memories.9990_future, memories.9991_future, memories.9992_future and 2 more, which release" in message


# A newer release


@pytest.fixture
def newer_code(monkeypatch):
    """This release, with a migration that older ones do not stand."""
    monkeypatch.setattr(compatibility, "RELEASE", "9.1.0")
    monkeypatch.setattr(compatibility, "OLDEST_RELEASE", "9.0.0")


def test_older_processes_are_shut_out_before_anything_is_migrated(newer_code, monkeypatch):
    seen = []
    monkeypatch.setattr(migrate, "time", SimpleNamespace(sleep=lambda seconds: seen.append(("waited", seconds))))
    monkeypatch.setattr(
        migrate.PlainCommand, "handle", lambda *args, **options: seen.append(compatibility.find_release())
    )
    Heartbeat.objects.note("worker")
    call_command("migrate", verbosity=0)
    assert seen == [("waited", migrate.NOTICE_SECONDS), FoundRelease("9.1.0", "9.0.0")]
    call_command("migrate", verbosity=0)
    assert len(seen) == 3  # nobody is left to wait for


def test_nobody_waits_for_processes_that_may_go_on(newer_code, monkeypatch):
    monkeypatch.setattr(compatibility, "OLDEST_RELEASE", __version__)
    monkeypatch.setattr(migrate, "time", SimpleNamespace(sleep=lambda seconds: pytest.fail("waited")))
    monkeypatch.setattr(migrate.PlainCommand, "handle", lambda *args, **options: None)
    Heartbeat.objects.note("worker")
    call_command("migrate", verbosity=0)
    assert compatibility.find_release() == FoundRelease("9.1.0", __version__)


def test_a_heartbeat_looks_at_the_release(incompatible, watching, monkeypatch):
    monkeypatch.setattr(heartbeats, "use_database", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(heartbeats._stopping, "wait", lambda seconds: heartbeats._stopping.set())
    try:
        heartbeats.run_heartbeat("worker", 1)
    finally:
        heartbeats._stopping.clear()
    assert watching.refusal == SENTENCE
