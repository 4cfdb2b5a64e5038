"""Encryption of histories at rest."""

import pytest
from cryptography.fernet import Fernet

from memory_site.operations.health.results import HealthStatus
from memory_site.operations.health.sessions import check_histories
from sessions_app.models import SessionMemory
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
OLD_KEY, NEW_KEY, OTHER_KEY = (Fernet.generate_key().decode() for _ in range(3))
SECRET_TEXT = "where the kumquats are"
SECRET_TURN = {"query": f"tell me {SECRET_TEXT}", "answer": f"this is {SECRET_TEXT}"}


def add_turn(api):
    return api.post("/sessions/monday/interactions", SECRET_TURN)


def fetch_stored_history() -> str:
    return str(SessionMemory.objects.get().history)


def fetch_turns(api) -> list[dict]:
    found = api.get("/sessions/monday/context").json()["interactions"]
    return [{name: each[name] for name in SECRET_TURN} for each in found]


def test_without_keys_history_is_stored_in_plain_text(api):
    add_turn(api)
    assert SECRET_TEXT in fetch_stored_history()


def test_with_a_key_nothing_readable_is_stored(api, settings):
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    assert add_turn(api).json()["history_length"] == 1
    assert SECRET_TEXT not in fetch_stored_history()
    assert SessionMemory.objects.get().history[0].keys() == {"sealed", "timestamp"}
    assert fetch_turns(api) == [SECRET_TURN]


def test_plain_and_encrypted_interactions_are_read_together(api, settings):
    add_turn(api)
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    add_turn(api)
    assert fetch_turns(api) == [SECRET_TURN, SECRET_TURN]


def test_first_key_encrypts_and_old_key_still_decrypts(api, settings):
    settings.SESSION_ENCRYPTION_KEYS = [OLD_KEY]
    add_turn(api)
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY, OLD_KEY]
    add_turn(api)
    assert fetch_turns(api) == [SECRET_TURN, SECRET_TURN]
    first, second = SessionMemory.objects.get().history
    assert Fernet(OLD_KEY).decrypt(first["sealed"])
    assert Fernet(NEW_KEY).decrypt(second["sealed"])


@pytest.mark.parametrize("keys", [[], [OTHER_KEY]], ids=["no key", "another key"])
def test_undecryptable_history_is_an_error(api, settings, keys):
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    add_turn(api)
    token = SessionMemory.objects.get().history[0]["sealed"]
    settings.SESSION_ENCRYPTION_KEYS = keys
    response = api.get("/sessions/monday/context")
    assert is_problem(response, 500)
    assert "SESSION_ENCRYPTION_KEYS" in response.json()["detail"]
    assert token not in response.content.decode()
    assert api.get("/sessions/monday").json()["history_length"] == 1


def test_altered_ciphertext_is_an_error(api, settings):
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    add_turn(api)
    session = SessionMemory.objects.get()
    token = session.history[0]["sealed"]
    session.history[0]["sealed"] = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    session.save()
    assert is_problem(api.get("/sessions/monday/context"), 500)


def test_caller_cannot_send_ciphertext(api, settings):
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    assert is_problem(api.post("/sessions/monday/interactions", SECRET_TURN | {"sealed": "x"}), 422)


@pytest.mark.parametrize("keys", [[], [OTHER_KEY]], ids=["no key", "another key"])
def test_health_check_detects_lost_key(api, settings, keys):
    settings.SESSION_ENCRYPTION_KEYS = [NEW_KEY]
    add_turn(api)
    assert check_histories() == (HealthStatus.HEALTHY, "The latest sessions can be read.")
    settings.SESSION_ENCRYPTION_KEYS = keys
    status, message = check_histories()
    assert status == HealthStatus.DEGRADED
    assert message.startswith("No key decrypts 'monday' in 'ours'")
