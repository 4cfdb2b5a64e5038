"""The command reencrypt_sessions: encrypt histories with the first key, or decrypt them."""

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
    """Return what the command prints on stdout and on stderr."""
    call_command("reencrypt_sessions", *words)
    return capsys.readouterr()


def run_refused_command(*words: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command("reencrypt_sessions", *words)
    return caught.value


def add_history(namespace, session: str, *queries: str) -> None:
    history.add(namespace.pk, session, [{"query": query, "answer": f"{query}!"} for query in queries])


def load_interactions(namespace, session: str) -> list[tuple]:
    """Return (query, answer, timestamp), oldest first."""
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
    """Return the interactions of a session, some plain, some encrypted with the old key, one with the new key."""
    add_history(namespace, "mixed", "plain 1", "plain 2")
    settings.SESSION_ENCRYPTION_KEYS = [OLD_KEY]
    add_history(namespace, "mixed", "old 1", "old 2")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    add_history(namespace, "mixed", "new")
    return load_interactions(namespace, "mixed")


def test_everything_is_encrypted_with_the_first_key(capsys, namespace, settings, mixed):
    before = SessionMemory.objects.values().get()
    assert run_reencrypt(capsys).out == "1 sessions encrypted, 0 were already, 0 skipped.\n"
    assert [is_encrypted_with(NEW_KEY, each) for each in fetch_stored_history("mixed")] == [True] * 5
    after = SessionMemory.objects.values().get()
    assert after | {"history": 0} == before | {"history": 0}
    assert after["history"][4] == before["history"][4]
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    assert load_interactions(namespace, "mixed") == mixed
    assert [query for query, *_ in mixed] == ["plain 1", "plain 2", "old 1", "old 2", "new"]


def test_plain_option_decrypts_everything(capsys, namespace, settings, mixed):
    before = SessionMemory.objects.values().get()
    assert run_reencrypt(capsys, "--plain").out == "1 sessions decrypted, 0 were already, 0 skipped.\n"
    settings.SESSION_ENCRYPTION_KEYS = []
    assert load_interactions(namespace, "mixed") == mixed
    assert all(each.keys() == {"query", "answer", "timestamp"} for each in fetch_stored_history("mixed"))
    assert SessionMemory.objects.values().get() | {"history": 0} == before | {"history": 0}


@pytest.mark.parametrize("words", [(), ("--plain",)], ids=str)
def test_second_run_changes_nothing(capsys, mixed, words):
    run_reencrypt(capsys, *words)
    before = fetch_stored_history("mixed")
    out, err = run_reencrypt(capsys, *words)
    assert ", 1 were already, 0 skipped." in out
    assert err.startswith("1 of 1 sessions are done, in")
    assert fetch_stored_history("mixed") == before


@pytest.mark.parametrize("words", [(), ("--plain",)], ids=str)
def test_dry_run_only_counts(capsys, mixed, words):
    before = list(SessionMemory.objects.values())
    assert run_reencrypt(capsys, "--dry-run", *words).out.startswith("1 sessions would be ")
    assert list(SessionMemory.objects.values()) == before


@pytest.mark.parametrize("words", [(), ("--plain",)], ids=str)
def test_unreadable_session_is_reported_and_left_unchanged(capsys, namespace, settings, words):
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


def test_missing_keys_are_a_usage_error(namespace):
    add_history(namespace, "monday", "one")
    error = run_refused_command()
    assert error.returncode == 2
    assert "SESSION_ENCRYPTION_KEYS is empty" in str(error)
    assert "sealed" not in fetch_stored_history("monday")[0]


def test_all_namespaces_and_expired_sessions_are_encrypted(capsys, namespace, outsider, settings):
    add_history(namespace, "monday", "one")
    outsider.post("/sessions/tuesday/interactions", {"query": "one", "answer": "two"})
    SessionMemory.objects.filter(session_id="monday").update(updated_at="2020-01-01T00:00:00Z")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    assert run_reencrypt(capsys).out.startswith("2 sessions encrypted, ")
    assert is_encrypted_with(NEW_KEY, fetch_stored_history("monday")[0])
    assert is_encrypted_with(NEW_KEY, fetch_stored_history("tuesday")[0])


def test_interrupted_run_is_completed_by_the_next(capsys, monkeypatch, namespace, settings):
    for number in range(6):
        add_history(namespace, f"{number}", "one")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    reencrypt, calls = reencrypt_sessions.reencrypt_interaction, []

    def interrupt_at_fourth(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return reencrypt(*arguments)

    monkeypatch.setattr(reencrypt_sessions, "reencrypt_interaction", interrupt_at_fourth)
    error = run_refused_command()
    assert error.returncode == 130
    assert "3 of 6 sessions are done" in str(error)
    assert [is_encrypted_with(NEW_KEY, fetch_stored_history(f"{number}")[0]) for number in range(6)] == [True] * 3 + [
        False
    ] * 3
    assert run_reencrypt(capsys).out == "3 sessions encrypted, 3 were already, 0 skipped.\n"
    assert all(is_encrypted_with(NEW_KEY, fetch_stored_history(f"{number}")[0]) for number in range(6))


def is_lock_awaited() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_concurrent_addition_is_not_lost(namespace, settings, mixed):
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
def test_many_concurrent_additions_are_not_lost(namespace, settings, mixed):
    def add_interactions() -> None:
        for number in range(20):
            add_history(namespace, "mixed", f"number {number}")

    def reencrypt_repeatedly() -> None:
        for words in [(), ("--plain",)] * 5:
            call_command("reencrypt_sessions", *words)

    run_at_once([add_interactions, reencrypt_repeatedly])
    call_command("reencrypt_sessions")
    assert [query for query, *_ in load_interactions(namespace, "mixed")[5:]] == [
        f"number {number}" for number in range(20)
    ]
    assert all(is_encrypted_with(NEW_KEY, each) for each in fetch_stored_history("mixed"))
