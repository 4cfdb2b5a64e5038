"""The console's pages of namespaces and API keys, and the console as a whole."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import NotSupportedError, connection
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from memories.models import Embedding, Memory
from memories.tasks import embed_due
from memory_site.core.admin.one_namespace import NOTICE
from memory_site.operations.access.models import ConsoleSession
from memory_site.operations.models import Heartbeat
from sessions_app.history import add
from sessions_app.models import ApiKey, Namespace
from tests.conftest import Api

pytestmark = pytest.mark.django_db
NAMESPACES_URL, KEYS_URL = "/admin/sessions_app/namespace/", "/admin/sessions_app/apikey/"
SESSIONS_URL = "/admin/sessions_app/sessionmemory/"
KEY_FORM = {"name": "bot", "scopes": ["read", "write"]}
TOKEN_PATTERN = re.compile(r"mem_[0-9a-f]{16}_[\w-]{20,}")


@pytest.fixture
def operator(django_user_model):
    """Without a password: hashing one takes longer than any of these pages."""
    return django_user_model.objects.create(username="operator", is_staff=True, is_superuser=True)


@pytest.fixture
def console(client, operator):
    client.force_login(operator)
    client.raise_request_exception = False
    return client


@pytest.fixture
def filled(namespace, api, outsider) -> Namespace:
    """Ours, with two memories and their vectors; and theirs, with one."""
    api.add("one")
    api.add("two")
    outsider.add("theirs")
    embed_due()
    return namespace


def get_delete_url(namespace: Namespace) -> str:
    return reverse("admin:sessions_app_namespace_delete", args=[namespace.pk])


def post_new_key(console, namespace: Namespace, **fields: object):
    return console.post(KEYS_URL + "add/", KEY_FORM | {"namespace": namespace.pk} | fields)


# Namespaces


def test_namespace_list_shows_memory_counts(console, filled, django_assert_num_queries):
    with django_assert_num_queries(6):  # session, user, saved filters, count, page, memories
        text = console.get(NAMESPACES_URL).content.decode()
    assert f'?namespace={filled.pk}" class="underline">2</a>' in text
    for number in range(20):
        Namespace.objects.create(name=f"namespace {number}")
    with django_assert_num_queries(6):
        console.get(NAMESPACES_URL)


def test_page_that_distributed_tables_cannot_show_is_shown_for_one_namespace(console, namespace):
    with connection.execute_wrapper(refuse_statements_over_all_namespaces):
        response = console.get(SESSIONS_URL)
        assert response.status_code == 302
        assert response.url == f"{SESSIONS_URL}?namespace={namespace.pk}"
        assert NOTICE in console.get(response.url).content.decode()


def refuse_statements_over_all_namespaces(execute, sql, params, many, context):
    """Raise what Citus raises, which this database cannot."""
    if 'FROM "sessions_app_sessionmemory"' in sql and '"sessions_app_sessionmemory"."namespace_id" = ' not in sql:
        raise NotSupportedError("complex joins are only supported when all distributed tables are co-located")
    return execute(sql, params, many, context)


def test_namespace_can_be_added_and_renamed(console, namespace):
    assert console.post(NAMESPACES_URL + "add/", {"name": "new"}).status_code == 302
    assert console.post(NAMESPACES_URL + "add/", {"name": "new"}).status_code == 200
    page = reverse("admin:sessions_app_namespace_change", args=[namespace.pk])
    assert console.post(page, {"name": "renamed"}).status_code == 302
    assert set(Namespace.objects.values_list("name", flat=True)) == {"new", "renamed"}


def test_namespace_delete_page_shows_counts(console, filled):
    response = console.get(get_delete_url(filled))
    assert dict(response.context["model_count"]) == {"memories": 2, "API keys": 1}
    add(filled.pk, "monday", [{"query": "why?", "answer": "because"}])
    response = console.get(get_delete_url(filled))
    assert dict(response.context["model_count"]) == {"memories": 2, "sessions": 1, "API keys": 1}


@pytest.mark.parametrize("typed", ["", "OURS", "theirs", None])
def test_namespace_is_not_deleted_without_its_typed_name(console, filled, typed):
    data = {"post": "yes"} | ({} if typed is None else {"name": typed})
    assert console.post(get_delete_url(filled), data).status_code == 302
    assert Namespace.objects.filter(pk=filled.pk).exists()
    assert Memory.objects.filter(namespace=filled).count() == 2


def test_namespace_delete_removes_its_rows_only(console, filled):
    assert console.post(get_delete_url(filled), {"post": "yes", "name": filled.name}).status_code == 302
    assert not Namespace.objects.filter(pk=filled.pk).exists()
    assert [memory.content for memory in Memory.objects.all()] == ["theirs"]
    assert Embedding.objects.count() == ApiKey.objects.count() == 1


def test_namespaces_cannot_be_deleted_in_bulk(console, filled):
    console.post(NAMESPACES_URL, {"action": "delete_selected", "_selected_action": [filled.pk], "post": "yes"})
    assert Namespace.objects.filter(pk=filled.pk).exists()


# API keys


def test_new_key_is_shown_and_gives_access(console, namespace):
    response = post_new_key(console, namespace)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    (token,) = set(TOKEN_PATTERN.findall(response.content.decode()))
    assert Api(token).add("by the new key")
    assert Memory.objects.get().namespace == namespace


def test_token_is_stored_nowhere(console, namespace):
    response = post_new_key(console, namespace)
    (token,) = set(TOKEN_PATTERN.findall(response.content.decode()))
    key = ApiKey.objects.get()
    secret = token.split("_", 2)[2]
    pages = [KEYS_URL, reverse("admin:sessions_app_apikey_change", args=[key.pk]), "/admin/"]
    seen = [console.get(page).content.decode() for page in pages]
    seen += [console.get(reverse("admin:sessions_app_apikey_history", args=[key.pk])).content.decode()]
    seen += [str(session.get_decoded()) for session in ConsoleSession.objects.all()] + [str(console.cookies)]
    assert not any(secret in text for text in seen)
    assert not any(bytes(key.digest).hex() in text or str(bytes(key.digest)) in text for text in seen)


def test_scopes_and_expiry_can_be_set(console, namespace):
    post_new_key(console, namespace, scopes=["read"], expires_at_0="2150-01-01", expires_at_1="00:00")
    key = ApiKey.objects.get()
    assert (key.scopes, key.expires_at.year) == (["read"], 2150)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"namespace": ""},
        {"namespace": "999999"},
        {"name": "x" * 256},
        {"expires_at_0": "2001-01-01", "expires_at_1": "00:00"},
    ],
)
def test_invalid_key_is_a_form_error(console, namespace, wrong):
    response = console.post(KEYS_URL + "add/", KEY_FORM | {"namespace": namespace.pk} | wrong)
    assert response.status_code == 200
    assert response.context["errors"]
    assert not ApiKey.objects.exists()


def test_namespace_of_key_cannot_be_changed(console, namespace):
    key, _ = ApiKey.objects.issue(namespace)
    other = Namespace.objects.create(name="other")
    page = reverse("admin:sessions_app_apikey_change", args=[key.pk])
    assert console.post(page, {"namespace": other.pk, "name": "new", "scopes": ["read"]}).status_code == 302
    key.refresh_from_db()
    assert (key.namespace, key.name, key.scopes) == (namespace, "new", ["read"])


def test_revoke_asks_for_confirmation_and_refuses_further_requests(console, namespace):
    key, token = ApiKey.objects.issue(namespace)
    page = reverse("admin:sessions_app_apikey_revoke", args=[key.pk])
    assert "Revoke this key?" in console.get(page).content.decode()
    assert Api(token).get("/memories").status_code == 200
    response = console.post(page, {"_form_submitted": "True"})
    assert response["HX-Redirect"] == KEYS_URL
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert ApiKey.objects.authenticate(token) is None
    assert "revoked" in console.get(KEYS_URL).content.decode()


def test_key_cannot_be_deleted(console, namespace):
    key, _ = ApiKey.objects.issue(namespace)
    page = reverse("admin:sessions_app_apikey_delete", args=[key.pk])
    assert console.post(page, {"post": "yes"}).status_code == 403
    assert ApiKey.objects.exists()


def test_user_without_permission_cannot_revoke(client, namespace, django_user_model):
    key, _ = ApiKey.objects.issue(namespace)
    client.force_login(django_user_model.objects.create(username="clerk", is_staff=True))
    page = reverse("admin:sessions_app_apikey_revoke", args=[key.pk])
    assert client.post(page, {"_form_submitted": "True"}).status_code == 403
    key.refresh_from_db()
    assert key.revoked_at is None


def test_key_list_takes_constant_number_of_statements(console, namespace, django_assert_num_queries):
    ApiKey.objects.issue(namespace)
    with django_assert_num_queries(5):
        console.get(KEYS_URL)
    for number in range(30):
        expires = timezone.now() - timedelta(days=1) if number % 2 else None
        ApiKey.objects.issue(Namespace.objects.create(name=f"n{number}"), expires_at=expires)
    with django_assert_num_queries(5):
        assert "expired" in console.get(KEYS_URL).content.decode()


def test_namespace_filter_narrows_the_key_list(console, namespace):
    ApiKey.objects.issue(namespace, name="ours")
    ApiKey.objects.issue(Namespace.objects.create(name="other"), name="of another")
    text = console.get(KEYS_URL, {"namespace": namespace.pk}).content.decode()
    assert "ours" in text
    assert "of another" not in text
    assert console.get(KEYS_URL, {"namespace": "x"}).status_code == 200


# The console as a whole


MODELS_WITHOUT_ADD = (
    "heartbeat",
    "maintenancereport",
    "operations/backup",
    "sessionmemory",
    "conversation",
    "ingestion",
    "reembedding",
    "erasure",
    "consolesession",
    "accessevent",
    "insight/",
    "cluster",
    "sqlstatement",
    "jobs/job",
    "namespaceclone",
    "cleanup/duplicate",
    "graph/entity",
    "history/",
)
# Pages to look at, with nothing behind them to be added to.
READ_ONLY_MODELS = ("usertotal", "desk", "testsearch")


def test_every_page_opens(console, namespace, operator):
    crontab = CrontabSchedule.objects.create(hour=2, minute=0)
    nightly = PeriodicTask.objects.create(name="nightly", task="memories.tasks.embed_due", crontab=crontab)
    Heartbeat.objects.note("worker")
    Group.objects.create(name="clerks")
    text = console.get("/admin/").content.decode()
    pages = set(re.findall(r'href="(/admin/[a-z_]+/[a-z_]+/)"', text))
    assert len(pages) >= 10
    for page in pages:
        assert console.get(page).status_code == 200, page
        assert console.get(page + "add/", {"namespace": "no number"}).status_code < 500, page
        add, model = console.get(page + "add/").status_code, page.strip("/").split("/")[-1]
        made_elsewhere = any(name in page for name in MODELS_WITHOUT_ADD)
        assert add == (404 if model in READ_ONLY_MODELS else 403 if made_elsewhere else 200), page
    for row in (nightly, operator, namespace):
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
        assert console.get(reverse(name, args=[row.pk])).status_code == 200, name


def test_console_names_environment_and_loads_nothing_from_elsewhere(console, namespace):
    text = console.get("/admin/").content.decode()
    assert "Memory Site" in text
    assert "Embedded" in text
    assert not re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?(?:https?:)?//[^"\']*', text)


def test_console_has_its_own_favicon(console):
    assert 'href="/static/memory_site/favicon.svg"' in console.get("/admin/").content.decode()
