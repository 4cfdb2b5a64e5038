"""Authentication by API key, and the cache of authenticated callers."""

import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from memory_site.core.caches import Cache
from sessions_app import auth
from sessions_app.models import SCOPES, ApiKey
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
READ_REQUEST, WRITE_REQUEST = ("GET", "/memories", None), ("POST", "/memories", {"content": "tea"})


@pytest.fixture
def holder(api, namespace):
    """Return a factory of callers of our namespace, each with a key of its own."""

    def make(**options: object):
        return type(api)(ApiKey.objects.issue(namespace, **options)[1])

    return make


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [
        (("read",), 200, 403),
        (("write",), 403, 201),
        (("admin",), 200, 201),
        (("read", "admin"), 200, 201),
        (("read", "write"), 200, 201),
        (SCOPES, 200, 201),
    ],
)
def test_scopes_decide_what_a_key_may_do(holder, scopes, reads, writes):
    caller = holder(scopes=scopes)
    assert caller.call(*READ_REQUEST).status_code == reads
    assert caller.call(*WRITE_REQUEST).status_code == writes


def test_refusal_names_the_missing_scope(holder):
    response = holder(scopes=("read",)).call(*WRITE_REQUEST)
    assert is_problem(response, 403)
    assert "'write'" in response.json()["detail"]


@pytest.mark.parametrize("scopes", [(), ("root",), ("read", "root")])
def test_database_refuses_unknown_scopes(namespace, scopes):
    with pytest.raises(Exception, match="api_key_scopes_are_known"):
        ApiKey.objects.issue(namespace, scopes=scopes)


def test_default_scopes_are_read_and_write(namespace):
    assert ApiKey.objects.issue(namespace)[0].scopes == ["read", "write"]


# Tokens


@pytest.mark.parametrize(
    "change",
    [
        lambda token: "",
        lambda token: "mem",
        lambda token: "mem_",
        lambda token: "mem__",
        lambda token: token[:-1],
        lambda token: token + "x",
        lambda token: token.upper(),
        lambda token: token.replace("mem_", "MEM_"),
        lambda token: token.replace("mem_", ""),
        lambda token: token.rpartition("_")[0],
        lambda token: token[:4] + "00000000" + token[12:],
        lambda token: f"{token} {token}",
        lambda token: f"{token},",
        lambda token: token + "x" * 10_000,
        lambda token: "mem_é_ü",
        lambda token: "mem_\x00_x",
        lambda token: "mem_%00_x",
        lambda token: "mem_' OR 1=1 --_x",
    ],
)
def test_altered_token_is_refused(api, change):
    response = type(api)(None).call(*READ_REQUEST, Authorization=f"Bearer {change(api.token)}")
    assert is_problem(response, 401)
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Basic", "Token", "", "Bearerx", "mem"])
def test_other_authentication_scheme_is_refused(api, scheme):
    assert is_problem(type(api)(None).call(*READ_REQUEST, Authorization=f"{scheme} {api.token}".strip()), 401)


def test_scheme_is_case_insensitive(api):
    assert type(api)(None).call(*READ_REQUEST, Authorization=f"bearer {api.token}").status_code == 200


def test_token_in_the_url_is_refused(api, stranger):
    assert is_problem(stranger.get(f"/memories?user_id={api.token}"), 401)


def test_secret_of_another_key_is_refused(api, namespace):
    other = ApiKey.objects.issue(namespace)[1]
    mixed = api.token[:13] + other[13:]
    assert is_problem(type(api)(mixed).call(*READ_REQUEST), 401)


def test_token_is_stored_nowhere(namespace):
    key, token = ApiKey.objects.issue(namespace)
    auth.find_caller(token)
    secret = token.rpartition("_")[2] if token.count("_") == 2 else token[13:]
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM sessions_app_apikey t")
        stored = str(cursor.fetchall())
    assert key.id in stored
    assert secret not in stored
    assert secret not in repr(auth.caller_cache.items())
    assert secret not in repr(vars(key)) + str(key)


def test_tokens_are_unique(namespace):
    tokens = [ApiKey.objects.issue(namespace)[1] for _ in range(50)]
    assert len(set(tokens)) == 50
    assert all(token.startswith("mem_") and len(token) > 50 for token in tokens)


# Expiry and revocation


def test_expired_key_is_refused(holder):
    caller = holder(expires_at=timezone.now() - timedelta(seconds=1))
    assert is_problem(caller.call(*READ_REQUEST), 401)


def test_key_before_its_expiry_is_accepted(holder):
    assert holder(expires_at=timezone.now() + timedelta(minutes=1)).call(*READ_REQUEST).status_code == 200


def measure_seconds_until_refused(caller) -> float:
    """Seconds until the last request that was accepted was sent: what a busy machine does later does not count."""
    started = accepted = sent = time.monotonic()
    while caller.call(*READ_REQUEST).status_code == 200:
        assert sent - started < 5
        time.sleep(0.01)
        accepted, sent = sent, time.monotonic()
    return accepted - started


def test_revocation_takes_effect_within_a_second_despite_cache(api):
    assert api.call(*READ_REQUEST).status_code == 200
    assert ApiKey.objects.get().revoke() is True  # without clearing the cache, as in another process
    assert measure_seconds_until_refused(api) < 1


def test_expiry_takes_effect_within_a_second_despite_cache(holder):
    caller = holder(expires_at=timezone.now() + timedelta(minutes=1))
    assert caller.call(*READ_REQUEST).status_code == 200
    ApiKey.objects.filter(expires_at__isnull=False).update(expires_at=timezone.now())
    assert measure_seconds_until_refused(caller) < 1


def test_key_of_deleted_namespace_is_refused_within_a_second(api, namespace):
    api.call(*READ_REQUEST)
    namespace.delete()
    assert measure_seconds_until_refused(api) < 1


def test_second_revocation_returns_false(api):
    assert [ApiKey.objects.get().revoke() for _ in range(2)] == [True, False]


def test_narrower_scopes_take_effect_within_a_second(api):
    api.call(*READ_REQUEST)
    ApiKey.objects.update(scopes=["write"])
    assert measure_seconds_until_refused(api) < 1


# Cost


def test_caller_is_cached(api, remembered_callers, django_assert_num_queries):
    api.call(*READ_REQUEST)
    with django_assert_num_queries(3):
        for _ in range(3):
            api.call(*READ_REQUEST)


def test_wrong_token_is_not_cached(api):
    for number in range(50):
        type(api)(f"mem_{number:08}_x").call(*READ_REQUEST)
    assert auth.caller_cache.items() == []


def test_cache_size_is_limited(api, holder, monkeypatch):
    monkeypatch.setattr(auth, "caller_cache", Cache(3, auth.AUTH_CACHE_SECONDS))
    for _ in range(10):
        assert holder().call(*READ_REQUEST).status_code == 200
        assert len(auth.caller_cache.items()) <= 3


def test_last_use_is_stored_at_most_once_a_minute(api, django_assert_num_queries):
    assert ApiKey.objects.get().last_used_at is None
    api.call(*READ_REQUEST)
    first = ApiKey.objects.get().last_used_at
    assert timezone.now() - first < timedelta(minutes=1)
    auth.caller_cache.clear()
    with django_assert_num_queries(2):  # the key, the list
        api.call(*READ_REQUEST)
    ApiKey.objects.update(last_used_at=first - timedelta(minutes=2))
    auth.caller_cache.clear()
    api.call(*READ_REQUEST)
    assert ApiKey.objects.get().last_used_at > first
