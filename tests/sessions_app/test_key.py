"""GET /key: a key may ask what it is."""

from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from sessions_app import auth
from sessions_app.api.keys import identify_site
from sessions_app.models import ApiKey, Namespace
from tests.conftest import Api
from tests.wire import is_problem

pytestmark = pytest.mark.django_db


def ask(api: Api) -> dict:
    response = api.get("/key")
    assert response.status_code == 200, response.content
    return response.json()


def test_a_key_says_what_it_is(namespace):
    ends = timezone.now() + timedelta(days=1)
    key, token = ApiKey.objects.issue(namespace, name="dashboard", scopes=("write", "read"), expires_at=ends)
    said = ask(Api(token))
    assert said.pop("site")
    assert said == {
        "id": f"mem_{key.pk}",
        "name": "dashboard",
        "scopes": ["read", "write"],
        "expires_at": ends.isoformat().replace("+00:00", "Z"),
        "namespace": {"id": namespace.pk, "name": namespace.name},
    }


@pytest.mark.parametrize("scope", ["read", "write", "admin"])
def test_every_scope_may_ask(namespace, scope):
    assert ask(Api(ApiKey.objects.issue(namespace, scopes=(scope,))[1]))["scopes"] == [scope]


def test_the_secret_is_not_shown(api):
    text = api.get("/key").content.decode()
    secret = api.token.removeprefix(ask(api)["id"])
    assert len(secret) > 40
    assert secret not in text


def test_the_site_is_the_same_for_every_key_and_the_namespace_is_not(api, outsider):
    ours, theirs = ask(api), ask(outsider)
    assert ours["site"] == theirs["site"]
    assert ours["namespace"] != theirs["namespace"]
    assert ours["expires_at"] is None


def test_another_database_of_the_server_is_another_site(api):
    site = ask(api)["site"]
    other = connections.create_connection("default")
    other.settings_dict = other.settings_dict | {"NAME": "postgres"}
    try:
        assert identify_site(other) != site == identify_site(connection)
    finally:
        other.close()


def test_a_rename_is_seen_within_a_second(api, namespace):
    before = ask(api)["namespace"]
    Namespace.objects.filter(pk=namespace.pk).update(name="renamed")
    auth.caller_cache.clear()
    assert ask(api)["namespace"] == {"id": before["id"], "name": "renamed"}


def test_one_statement_answers(api, remembered_callers, django_assert_num_queries):
    ask(api)
    with django_assert_num_queries(1):
        ask(api)


def test_without_a_key_nothing_is_said(stranger, api):
    assert is_problem(stranger.get("/key"), 401)
    ApiKey.objects.get().revoke()
    auth.caller_cache.clear()
    assert is_problem(api.get("/key"), 401)
