"""Stored histories sealed anew with the first key, or opened for good."""

import threading
import time

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from sessions_app import history
from sessions_app.management.commands import reencrypt_sessions
from sessions_app.models import SessionMemory
from tests.wire import run_at_once

pytestmark = pytest.mark.django_db
OLD_KEY, NEW_KEY, LOST_KEY = (Fernet.generate_key().decode() for _ in range(3))


def run_reencrypt(capsys, *words: str) -> tuple[str, str]:
    """What the command says on stdout and on stderr."""
    call_command("reencrypt_sessions", *words)
    return capsys.readouterr()


def run_refused_command(*words: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command("reencrypt_sessions", *words)
    return caught.value


def add_history(namespace, session: str, *queries: str) -> None:
    history.add(namespace.pk, session, [{"query": query, "answer": f"{query}!"} for query in queries])


def load_interactions(namespace, session: str) -> list[tuple]:
    """Oldest first: query, answer and time."""
    found = history.fetch_context(namespace.pk, session, 1000)[::-1]
    return [(each["query"], each["answer"], each["timestamp"]) for each in found]


def fetch_stored_history(session: str) -> list[dict]:
    return SessionMemory.objects.get(session_id=session).history


def is_encrypted_with(key: str, each: dict) -> bool:
    try:
        return bool(Fernet(key).decrypt(each.get("sealed", "")))
    except InvalidToken:
        return False


@pytest.fixture
def mixed(namespace, settings):
    """What a session says whose interactions are plain, sealed with the old key, and sealed with the new one."""
    add_history(namespace, "mixed", "plain 1", "plain 2")
    settings.SESSION_ENCRYPTION_KEYS = [OLD_KEY]
    add_history(namespace, "mixed", "old 1", "old 2")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    add_history(namespace, "mixed", "new")
    return load_interactions(namespace, "mixed")


def test_everything_is_sealed_with_the_first_key_and_the_old_one_may_go(capsys, namespace, settings, mixed):
    before = SessionMemory.objects.values().get()
    assert run_reencrypt(capsys).out == "1 sessions sealed, 0 were already, 0 skipped.\n"
    assert [is_encrypted_with(NEW_KEY, each) for each in fetch_stored_history("mixed")] == [True] * 5
    after = SessionMemory.objects.values().get()
    assert after | {"history": 0} == before | {"history": 0}
    assert after["history"][4] == before["history"][4]
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    assert load_interactions(namespace, "mixed") == mixed
    assert [query for query, *_ in mixed] == ["plain 1", "plain 2", "old 1", "old 2", "new"]


def test_all_are_opened_for_good_and_the_keys_may_go(capsys, namespace, settings, mixed):
    before = SessionMemory.objects.values().get()
    assert run_reencrypt(capsys, "--plain").out == "1 sessions opened, 0 were already, 0 skipped.\n"
    settings.SESSION_ENCRYPTION_KEYS = []
    assert load_interactions(namespace, "mixed") == mixed
    assert all(each.keys() == {"query", "answer", "timestamp"} for each in fetch_stored_history("mixed"))
    assert SessionMemory.objects.values().get() | {"history": 0} == before | {"history": 0}


@pytest.mark.parametrize("words", [(), ("--plain",)], ids=str)
def test_a_second_time_there_is_nothing_to_do(capsys, mixed, words):
    run_reencrypt(capsys, *words)
    before = fetch_stored_history("mixed")
    out, err = run_reencrypt(capsys, *words)
    assert ", 1 were already, 0 skipped." in out
    assert err.startswith("1 of 1 sessions are done, in")
    assert fetch_stored_history("mixed") == before


@pytest.mark.parametrize("words", [(), ("--plain",)], ids=str)
def test_a_dry_run_only_counts(capsys, mixed, words):
    before = list(SessionMemory.objects.values())
    assert run_reencrypt(capsys, "--dry-run", *words).out.startswith("1 sessions would be ")
    assert list(SessionMemory.objects.values()) == before


@pytest.mark.parametrize("words", [(), ("--plain",)], ids=str)
def test_what_no_key_opens_is_told_and_left_as_it_is_and_the_others_are_done(capsys, namespace, settings, words):
    settings.SESSION_ENCRYPTION_KEYS = [OLD_KEY]
    add_history(namespace, "first", "one")
    add_history(namespace, "lost", "one")
    settings.SESSION_ENCRYPTION_KEYS = [LOST_KEY]
    add_history(namespace, "lost", "two")
    settings.SESSION_ENCRYPTION_KEYS = [OLD_KEY]
    add_history(namespace, "last", "one")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    before = SessionMemory.objects.values().get(session_id="lost")
    error = run_refused_command(*words)
    out, err = capsys.readouterr()
    assert error.returncode == 1
    assert out.startswith("2 sessions ")
    assert "0 were already, 1 skipped." in out
    assert "'lost' in the namespace 'ours': " in err
    assert SessionMemory.objects.values().get(session_id="lost") == before
    settings.SESSION_ENCRYPTION_KEYS = [] if words else [NEW_KEY]
    assert [load_interactions(namespace, each)[0][0] for each in ("first", "last")] == ["one", "one"]


def test_without_keys_there_is_nothing_to_seal_with(namespace):
    add_history(namespace, "monday", "one")
    error = run_refused_command()
    assert error.returncode == 2
    assert "SESSION_ENCRYPTION_KEYS is empty" in str(error)
    assert "sealed" not in fetch_stored_history("monday")[0]


def test_sessions_of_every_namespace_and_those_that_are_over_are_sealed(capsys, namespace, outsider, settings):
    add_history(namespace, "monday", "one")
    outsider.post("/sessions/tuesday/interactions", {"query": "one", "answer": "two"})
    SessionMemory.objects.filter(session_id="monday").update(updated_at="2020-01-01T00:00:00Z")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    assert run_reencrypt(capsys).out.startswith("2 sessions sealed, ")
    assert is_encrypted_with(NEW_KEY, fetch_stored_history("monday")[0])
    assert is_encrypted_with(NEW_KEY, fetch_stored_history("tuesday")[0])


def test_an_interruption_keeps_what_was_done_and_the_next_run_does_the_rest(capsys, monkeypatch, namespace, settings):
    for number in range(6):
        add_history(namespace, f"{number}", "one")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    as_wanted, seen = reencrypt_sessions.reencrypt_interaction, []

    def interrupted(*given):
        seen.append(given)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return as_wanted(*given)

    monkeypatch.setattr(reencrypt_sessions, "reencrypt_interaction", interrupted)
    error = run_refused_command()
    assert error.returncode == 130
    assert "3 of 6 sessions are done" in str(error)
    assert [is_encrypted_with(NEW_KEY, fetch_stored_history(f"{number}")[0]) for number in range(6)] == [True] * 3 + [
        False
    ] * 3
    assert run_reencrypt(capsys).out == "3 sessions sealed, 3 were already, 0 skipped.\n"
    assert all(is_encrypted_with(NEW_KEY, fetch_stored_history(f"{number}")[0]) for number in range(6))


def is_lock_awaited() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_what_is_added_meanwhile_is_not_lost(namespace, settings, mixed):
    thread = threading.Thread(target=lambda: run_at_once([lambda: call_command("reencrypt_sessions")]))
    with transaction.atomic():
        add_history(namespace, "mixed", "meanwhile")
        thread.start()
        deadline = time.monotonic() + 10
        while not is_lock_awaited():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    thread.join(20)
    assert all(is_encrypted_with(NEW_KEY, each) for each in fetch_stored_history("mixed"))
    assert load_interactions(namespace, "mixed")[:-1] == mixed
    assert load_interactions(namespace, "mixed")[-1][0] == "meanwhile"


@pytest.mark.django_db(transaction=True)
def test_many_additions_during_several_runs_are_all_kept(namespace, settings, mixed):
    def adding() -> None:
        for number in range(20):
            add_history(namespace, "mixed", f"number {number}")

    def sealing() -> None:
        for words in [(), ("--plain",)] * 5:
            call_command("reencrypt_sessions", *words)

    run_at_once([adding, sealing])
    call_command("reencrypt_sessions")
    assert [query for query, *_ in load_interactions(namespace, "mixed")[5:]] == [
        f"number {number}" for number in range(20)
    ]
    assert all(is_encrypted_with(NEW_KEY, each) for each in fetch_stored_history("mixed"))
