"""The nightly task and the command that delete expired sessions."""

import threading
import time
from datetime import timedelta
from functools import partial

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from memory_site.core.db import locks
from sessions_app import history, tasks
from sessions_app.models import Namespace, SessionMemory
from tests.wire import is_lock_awaited, run_at_once

pytestmark = pytest.mark.django_db
INTERACTIONS = [{"query": "why?", "answer": "because"}]


@pytest.fixture
def theirs(db) -> Namespace:
    return Namespace.objects.create(name="theirs")


def add_session(namespace: Namespace, session: str, *, hours_ago: float = 0, ttl_hours: float | None = None) -> None:
    history.add(namespace.pk, session, INTERACTIONS)
    moment = timezone.now() - timedelta(hours=hours_ago)
    SessionMemory.objects.filter(namespace=namespace, session_id=session).update(updated_at=moment, ttl_hours=ttl_hours)


def load_session_ids() -> set[str]:
    return set(SessionMemory.objects.values_list("session_id", flat=True))


def run_cleanup(capsys, *words: object) -> str:
    call_command("cleanup_sessions", *map(str, words))
    out, err = capsys.readouterr()
    assert err == ""
    return out


def run_refused_command(*words: object) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command("cleanup_sessions", *map(str, words))
    return caught.value


# The task


def test_sessions_expire_by_their_own_time_to_live(namespace):
    add_session(namespace, "fresh", hours_ago=23)
    add_session(namespace, "expired", hours_ago=25)
    add_session(namespace, "long", hours_ago=25, ttl_hours=48)
    add_session(namespace, "short", hours_ago=2, ttl_hours=1)
    assert tasks.delete_outdated_sessions() == 2
    assert load_session_ids() == {"fresh", "long"}


def test_max_age_overrides_time_to_live(namespace):
    add_session(namespace, "fresh", hours_ago=1, ttl_hours=0.5)
    add_session(namespace, "long", hours_ago=3, ttl_hours=48)
    assert tasks.delete_outdated_sessions(max_age_hours=2) == 1
    assert load_session_ids() == {"fresh"}


def test_one_or_all_namespaces_are_cleaned(namespace, theirs):
    for each in (namespace, theirs):
        add_session(each, f"of {each.name}", hours_ago=25)
    assert tasks.delete_outdated_sessions(namespace.pk) == 1
    assert load_session_ids() == {"of theirs"}
    assert tasks.delete_outdated_sessions() == 1


def test_second_run_deletes_nothing(namespace):
    add_session(namespace, "expired", hours_ago=25)
    assert [tasks.delete_outdated_sessions() for _ in range(2)] == [1, 0]


def test_batches_take_four_statements_each(namespace, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(tasks, "DELETE_BATCH_SIZE", 4)
    for number in range(10):
        add_session(namespace, f"{number}", hours_ago=25)
    # Where there are any; four batches (4, 4, 2, none): savepoint, bound of waiting, delete, release.
    with django_assert_num_queries(1 + 4 * 4):
        assert tasks.delete_outdated_sessions() == 10


@pytest.mark.django_db(transaction=True)
def test_concurrent_runs_delete_each_session_once(namespace, monkeypatch):
    monkeypatch.setattr(tasks, "DELETE_BATCH_SIZE", 3)
    for number in range(40):
        add_session(namespace, f"{number}", hours_ago=25)
    add_session(namespace, "fresh")
    assert sum(run_at_once([tasks.delete_outdated_sessions] * 3)) == 40
    assert load_session_ids() == {"fresh"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("renew", "max_age_hours"), [("add", None), ("add", 24), ("ttl", None)])
def test_session_renewed_between_selection_and_deletion_stays(namespace, renew, max_age_hours, monkeypatch):
    monkeypatch.setattr(locks, "MAX_BACKGROUND_WAIT_SECONDS", 120)
    add_session(namespace, "renewed", hours_ago=25)
    add_session(namespace, "expired", hours_ago=25)
    deleted = []
    cleaning = partial(tasks.delete_outdated_sessions, None, max_age_hours)
    thread = threading.Thread(target=lambda: deleted.extend(run_at_once([cleaning])))
    with transaction.atomic():
        if renew == "add":
            history.add(namespace.pk, "renewed", INTERACTIONS)
        else:
            SessionMemory.objects.filter(session_id="renewed").update(ttl_hours=48)
        thread.start()
        deadline = time.monotonic() + 60
        while not is_lock_awaited():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    thread.join(60)
    assert deleted == [1]
    assert load_session_ids() == {"renewed"}


# The command


def test_command_prints_number_of_deleted_sessions(capsys, namespace, theirs):
    for each in (namespace, theirs):
        add_session(each, "fresh")
        add_session(each, "expired", hours_ago=25)
    assert run_cleanup(capsys, "--namespace", "ours") == "1 sessions were deleted.\n"
    assert SessionMemory.objects.filter(namespace=theirs).count() == 2
    assert run_cleanup(capsys) == "1 sessions were deleted.\n"
    assert load_session_ids() == {"fresh"}


def test_command_accepts_max_age(capsys, namespace):
    add_session(namespace, "fresh", hours_ago=1)
    add_session(namespace, "old", hours_ago=2)
    assert run_cleanup(capsys, "--max-age-hours", 1.5) == "1 sessions were deleted.\n"
    assert load_session_ids() == {"fresh"}


def test_dry_run_only_counts(capsys, namespace, theirs):
    for each in (namespace, theirs):
        add_session(each, "expired", hours_ago=25)
    assert run_cleanup(capsys, "--dry-run") == "2 sessions would be deleted.\n"
    assert run_cleanup(capsys, "--dry-run", "--namespace", "ours") == "1 sessions would be deleted.\n"
    assert run_cleanup(capsys, "--dry-run", "--max-age-hours", 26) == "0 sessions would be deleted.\n"
    assert SessionMemory.objects.count() == 2


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "-inf", "1e300"])
def test_invalid_age_is_a_usage_error(namespace, hours):
    add_session(namespace, "expired", hours_ago=25)
    error = run_refused_command(f"--max-age-hours={hours}")
    assert error.returncode == 2
    assert "--max-age-hours must be above 0" in str(error)
    assert load_session_ids() == {"expired"}


@pytest.mark.parametrize("name", ["nowhere", ""])
def test_unknown_namespace_is_a_usage_error(namespace, name):
    add_session(namespace, "expired", hours_ago=25)
    assert run_refused_command("--namespace", name).returncode == 2
    assert load_session_ids() == {"expired"}
