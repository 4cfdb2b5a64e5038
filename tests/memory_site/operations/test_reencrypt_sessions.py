"""The command reencrypt_sessions: encrypt histories with the first key, or decrypt them."""

import json
import threading
import time
from contextlib import suppress

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.core.management import CommandError, call_command
from django.db import transaction

from memory_site.operations.health.results import HealthStatus
from memory_site.operations.health.sessions import check_histories
from memory_site.operations.models import Heartbeat
from sessions_app import history, key_rotation
from sessions_app.key_rotation import name_key
from sessions_app.models import SessionMemory
from tests.wire import is_lock_awaited, run_at_once

pytestmark = pytest.mark.django_db
BACKUPS = "unless you may restore a backup from before"
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
    assert run_reencrypt(capsys).out == (
        "1 sessions encrypted, 0 were already, 0 skipped.\n"
        f"Every history needs only the key {name_key(NEW_KEY)}: the others may be removed, {BACKUPS}.\n"
    )
    assert [is_encrypted_with(NEW_KEY, each) for each in fetch_stored_history("mixed")] == [True] * 5
    after = SessionMemory.objects.values().get()
    assert after | {"history": 0} == before | {"history": 0}
    assert after["history"][4] == before["history"][4]
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    assert load_interactions(namespace, "mixed") == mixed
    assert [query for query, *_ in mixed] == ["plain 1", "plain 2", "old 1", "old 2", "new"]


def test_plain_option_decrypts_everything(capsys, namespace, settings, mixed):
    before = SessionMemory.objects.values().get()
    assert run_reencrypt(capsys, "--plain").out == (
        "1 sessions decrypted, 0 were already, 0 skipped.\n"
        f"No history is encrypted: all keys may be removed, {BACKUPS}.\n"
    )
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
    reencrypt, calls = key_rotation.reencrypt_interaction, []

    def interrupt_at_fourth(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return reencrypt(*arguments)

    monkeypatch.setattr(key_rotation, "reencrypt_interaction", interrupt_at_fourth)
    error = run_refused_command()
    assert error.returncode == 130
    assert "3 of 6 sessions are done" in str(error)
    assert [is_encrypted_with(NEW_KEY, fetch_stored_history(f"{number}")[0]) for number in range(6)] == [True] * 3 + [
        False
    ] * 3
    assert run_reencrypt(capsys).out == "3 sessions encrypted, 3 were already, 0 skipped.\n"
    assert all(is_encrypted_with(NEW_KEY, fetch_stored_history(f"{number}")[0]) for number in range(6))


@pytest.mark.django_db(transaction=True)
def test_concurrent_addition_is_not_lost(namespace, settings, mixed):
    thread = threading.Thread(target=lambda: run_at_once([lambda: call_command("reencrypt_sessions")]))
    with transaction.atomic():
        add_history(namespace, "mixed", "meanwhile")
        thread.start()
        deadline = time.monotonic() + 60
        while not is_lock_awaited():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    thread.join(60)
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
            with suppress(CommandError):  # that something was added meanwhile
                call_command("reencrypt_sessions", *words)

    run_at_once([add_interactions, reencrypt_repeatedly])
    call_command("reencrypt_sessions")
    assert [query for query, *_ in load_interactions(namespace, "mixed")[5:]] == [
        f"number {number}" for number in range(20)
    ]
    assert all(is_encrypted_with(NEW_KEY, each) for each in fetch_stored_history("mixed"))


# Whether the earlier keys may be removed


def write_with_old_key_after(monkeypatch, settings, namespace, additions: int) -> None:
    """Have a process with the old settings add to a session behind the command, so many times."""
    reencrypt, left = key_rotation.reencrypt_session, iter(range(additions))

    def run(*arguments, **options):
        changed = reencrypt(*arguments, **options)
        if next(left, None) is not None:
            settings.SESSION_ENCRYPTION_KEYS = [OLD_KEY, NEW_KEY]
            add_history(namespace, "mixed", "by an old process")
            settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
        return changed

    monkeypatch.setattr("memory_site.operations.management.commands.reencrypt_sessions.reencrypt_session", run)


def test_what_was_written_meanwhile_with_the_old_key_is_encrypted_again(
    capsys, monkeypatch, namespace, settings, mixed
):
    write_with_old_key_after(monkeypatch, settings, namespace, 1)
    out = run_reencrypt(capsys).out
    assert out.startswith("2 sessions encrypted, ")
    assert "the others may be removed" in out
    assert all(is_encrypted_with(NEW_KEY, each) for each in fetch_stored_history("mixed"))


def test_no_key_may_be_removed_while_a_process_writes_with_the_old_one(capsys, monkeypatch, namespace, settings, mixed):
    write_with_old_key_after(monkeypatch, settings, namespace, 100)
    error = run_refused_command()
    assert (error.returncode, str(error).startswith("Remove no key yet: ")) == (3, True)
    assert "may be removed" not in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("--plain",)], ids=str)
def test_no_key_may_be_removed_while_an_idle_process_would_write_with_another(capsys, settings, mixed, words):
    settings.SESSION_ENCRYPTION_KEYS = [OLD_KEY]
    Heartbeat.objects.note("web")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    name = Heartbeat.objects.get().name
    error = run_refused_command(*words)
    assert (error.returncode, f"still write with another key, or none ({name})" in str(error)) == (3, True)
    Heartbeat.objects.update(seen_at="2020-01-01T00:00:00Z")
    assert "may be removed" in run_reencrypt(capsys, *words).out


def test_a_process_that_encrypts_with_the_first_key_is_fine(capsys, mixed):
    Heartbeat.objects.note("web")
    Heartbeat.objects.note_beat()
    assert "the others may be removed" in run_reencrypt(capsys).out


def test_keys_of_processes_and_messages_are_names_that_reveal_nothing(capsys, mixed):
    Heartbeat.objects.note("web")
    assert Heartbeat.objects.get().session_key == name_key(NEW_KEY)
    assert len({name_key(key) for key in (OLD_KEY, NEW_KEY, LOST_KEY)}) == 3
    printed = "".join(run_reencrypt(capsys))
    assert not any(key in printed for key in (OLD_KEY, NEW_KEY))


def test_check_says_which_keys_are_needed_and_changes_nothing(capsys, namespace, settings, mixed):
    settings.SESSION_ENCRYPTION_KEYS = [LOST_KEY]
    add_history(namespace, "lost", "one")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    before = list(SessionMemory.objects.values())
    error = run_refused_command("--check", "--format", "json")
    assert error.returncode == 3
    assert json.loads(capsys.readouterr().out) == [
        {"role": "earlier", "key": name_key(OLD_KEY), "sessions": 1},
        {"role": "first", "key": name_key(NEW_KEY), "sessions": 1},
        {"role": "missing", "key": "", "sessions": 1},
        {"role": "plain", "key": "", "sessions": 1},
    ]
    assert list(SessionMemory.objects.values()) == before
    SessionMemory.objects.filter(session_id="lost").delete()
    run_reencrypt(capsys)
    assert json.loads(run_reencrypt(capsys, "--check", "--format", "json")[0]) == [
        {"role": "first", "key": name_key(NEW_KEY), "sessions": 1}
    ]


def test_one_namespace_alone_permits_to_remove_nothing(capsys, namespace, outsider, settings):
    add_history(namespace, "monday", "one")
    outsider.post("/sessions/tuesday/interactions", {"query": "one", "answer": "two"})
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    assert run_reencrypt(capsys, "--namespace", "ours").out == "1 sessions encrypted, 0 were already, 0 skipped.\n"
    assert "sealed" not in fetch_stored_history("tuesday")[0]


def test_health_names_the_sessions_whose_key_was_dropped(namespace, settings):
    settings.SESSION_ENCRYPTION_KEYS = [OLD_KEY]
    for number in range(7):
        add_history(namespace, f"old {number}", "one")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    add_history(namespace, "new", "one")
    status, message = check_histories()
    assert status is HealthStatus.DEGRADED
    assert message.startswith("No key decrypts 'old 6' in 'ours', ")
    assert message.endswith(" and 2 more, of 8 sessions that were looked at.")


def test_health_knows_of_a_rotation_that_is_not_complete(namespace, settings, mixed):
    assert check_histories()[0] is HealthStatus.HEALTHY
    settings.SESSION_ENCRYPTION_KEYS = [OLD_KEY]
    add_history(namespace, "old", "one")
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    assert check_histories() == (
        HealthStatus.HEALTHY,
        "1 of 2 sessions that were looked at need an earlier key.",
        "python manage.py reencrypt_sessions",
    )
