"""What is known of a key's use, and how a key is rotated."""

from datetime import date, timedelta
from types import SimpleNamespace

import pytest
from django.urls import reverse
from django.utils import timezone

from sessions_app import key_usage as usage
from sessions_app.key_usage import KEPT_DAYS, key_usage
from sessions_app.models import ApiKey
from tests.conftest import Api
from tests.console import fetch_page_text
from tests.sessions_app.test_admin import KEY_FORM, KEYS_URL, TOKEN_PATTERN
from tests.sessions_app.test_commands import run_command, run_refused_command

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def today(monkeypatch) -> date:
    """The day of all calls, also if a test goes on after midnight."""
    now = timezone.now()
    monkeypatch.setattr(usage, "timezone", SimpleNamespace(now=lambda: now))
    return now.date()


@pytest.fixture
def key(namespace) -> ApiKey:
    return ApiKey.objects.issue(namespace, name="bot")[0]


def test_calls_are_counted_by_day_with_their_last_address(api, console, today):
    for _ in range(3):
        api.get("/memories")
    api.client.get("/api/v1/memories", headers={"Authorization": f"Bearer {api.token}"}, REMOTE_ADDR="192.0.2.7")
    key_usage.flush()
    api.get("/memories")
    key_usage.flush()
    key = ApiKey.objects.get()
    assert key.calls == {today.isoformat(): 5}
    assert (key.last_address, key.last_used_at is not None) == ("127.0.0.1", True)
    assert "127.0.0.1" in fetch_page_text(console, KEYS_URL)


def test_a_refused_call_counts_for_no_key(api, stranger):
    stranger.get("/memories")
    Api(api.token + "x").get("/memories")
    key_usage.flush()
    assert ApiKey.objects.get().calls == {}


def test_a_key_keeps_the_calls_of_its_last_days(key, today):
    ApiKey.objects.update(calls={(today - timedelta(days=age)).isoformat(): age for age in range(KEPT_DAYS)})
    key_usage.add(key.pk, {"REMOTE_ADDR": ""})
    key_usage.flush()
    calls = ApiKey.objects.get().calls
    assert len(calls) == KEPT_DAYS and calls[today.isoformat()] == 1
    ApiKey.objects.update(calls={(today - timedelta(days=age)).isoformat(): 1 for age in range(1, KEPT_DAYS + 1)})
    key_usage.add(key.pk, {})
    key_usage.flush()
    assert min(ApiKey.objects.get().calls) == (today - timedelta(days=KEPT_DAYS - 1)).isoformat()


def test_counting_a_call_takes_no_statement(api, takes):
    with takes(1):
        api.get("/memories")


def test_a_new_key_needs_a_name_and_knows_who_made_and_revoked_it(console, namespace):
    response = console.post(KEYS_URL + "add/", KEY_FORM | {"namespace": namespace.pk, "name": " "})
    assert "name" in response.context["adminform"].form.errors
    console.post(KEYS_URL + "add/", KEY_FORM | {"namespace": namespace.pk})
    key = ApiKey.objects.get()
    console.post(reverse("admin:sessions_app_apikey_revoke", args=[key.pk]), {"_form_submitted": "True"})
    key.refresh_from_db()
    assert (key.created_by, key.revoked_by) == ("console:operator", "console:operator")


def test_a_rotated_key_goes_on_for_the_grace_time_beside_its_successor(console, key):
    page = reverse("admin:sessions_app_apikey_rotate", args=[key.pk])
    assert "The old key works for another" in console.get(page).content.decode()
    response = console.post(page, {"grace": "24"})
    (token,) = set(TOKEN_PATTERN.findall(response.content.decode()))
    key.refresh_from_db()
    new = ApiKey.objects.exclude(pk=key.pk).get()
    assert (new.name, new.scopes, new.namespace, key.replaced_by) == (key.name, key.scopes, key.namespace, new)
    assert timedelta(hours=23) < key.expires_at - timezone.now() <= timedelta(hours=24)
    assert new.expires_at is None and ApiKey.objects.authenticate(token)
    assert f"replaced by mem_{new.pk}" in fetch_page_text(console, KEYS_URL)


def test_without_a_grace_time_the_old_key_ends_at_once(console, namespace):
    key, token = ApiKey.objects.issue(namespace, name="bot")
    console.post(reverse("admin:sessions_app_apikey_rotate", args=[key.pk]), {"grace": "0"})
    assert ApiKey.objects.authenticate(token) is None
    assert ApiKey.objects.count() == 2


@pytest.mark.parametrize("change", ["revoked", "expired", "rotated"])
def test_a_key_that_does_not_go_on_is_not_rotated(console, key, change):
    past = timezone.now() - timedelta(hours=1)
    ApiKey.objects.update(**{
        "revoked": {"revoked_at": past}, "expired": {"expires_at": past}, "rotated": {"replaced_by": key},
    }[change])  # fmt: skip
    assert console.post(reverse("admin:sessions_app_apikey_rotate", args=[key.pk]), {"grace": "24"}).status_code == 302
    assert ApiKey.objects.count() == 1
    assert "rotated already" in str(run_refused_command("rotate_api_key", key.pk))


@pytest.mark.parametrize("object_id", ["x", "\0", "9" * 99], ids=["x", "NUL", "long"])
def test_a_strange_id_is_no_error(console, object_id):
    assert console.post(reverse("admin:sessions_app_apikey_rotate", args=[object_id]), {"grace": "x"}).status_code < 500


def test_the_command_rotates_and_prints_the_token_only(key, capsys):
    out, err = run_command(capsys, "rotate_api_key", f"mem_{key.pk}", "--grace-hours", "1")
    assert ApiKey.objects.authenticate(out.strip()).namespace_id == key.namespace_id
    assert str(key) in err and ApiKey.objects.exclude(pk=key.pk).get().created_by.startswith("command:")
    assert "--grace-hours" in str(run_refused_command("rotate_api_key", key.pk, "--grace-hours", "-1"))
    assert "no such key" in str(run_refused_command("rotate_api_key", "none"))
