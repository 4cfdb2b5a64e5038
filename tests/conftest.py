"""The people of every test: a namespace's caller, an outsider, and someone who may only read."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import hypothesis
import pytest
from django.conf import settings as project
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.test import TransactionTestCase
from django.test.client import Client, ClientHandler
from pytest_django import DjangoDbBlocker
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from memories import embeddings
from memories.active_model import set_initial_model
from memories.graph.models import UserStatistics
from memories.seen import SeenMemories, seen_memories
from memory_site.core.caches import Cache, clear_all_caches
from memory_site.core.http.middleware import keep_raw_path
from memory_site.core.releases.models import DatabaseRelease
from memory_site.embedded.postgres import Postgres
from memory_site.embedded.services import ensure_services
from memory_site.operations.access.models import SeededGrant
from sessions_app import auth
from sessions_app.key_usage import KeyUsage, key_usage
from sessions_app.models import SCOPES, ApiKey, Namespace
from tests.new_site import copy_new_database

#: Folders, and the markers of their tests, that start processes of their own.
WAITING = ("stack", "browser", "embedded")
STACK, BROWSER, CLUSTER = "tests/stack/", "tests/browser/", "tests/memory_site/operations/pitr/"
#: Files there that start other sites than the shared ones.
WITH_OWN_SITES = (
    *("disk_full", "embedder_away", "logs_and_traces", "metrics", "reembed", "replicas", "restore", "selftest"),
    "several_machines",
)
OWN_SITES = {f"{STACK}test_{name}.py" for name in WITH_OWN_SITES}
#: For the suite's own PostgreSQL, which needs no durability. Those of tests/embedded and tests/stack stay durable.
NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")

#: Limits of the time that a part of an answer may take, in seconds. On a busy machine answers would say less because of
#: them; tests of a limit set it themselves.
TIME_LIMITS = (
    *("memories.search.text_scan.SCAN_SECONDS", "memories.search.text_scan.COUNT_SECONDS"),
    "memories.search.text_scan.MIN_CHUNK_SECONDS",
    *("memories.admin.suggestions.SUGGESTION_SECONDS", "memories.admin.facets.FACET_SECONDS"),
    *("memories.cleanup.assistants.MAX_COUNT_SECONDS", "memories.api.memories.WAIT_SECONDS"),
    *("memory_site.operations.metrics.figures.WAIT_SECONDS", "memory_site.core.db.locks.MAX_BACKGROUND_WAIT_SECONDS"),
    *("memories.bench.run.TIMEOUT_SECONDS", "memories.bench.admin.pages.MAX_RUN_SECONDS"),
    "memory_site.operations.dashboard.snapshots.MAX_CARD_SECONDS",
    "memory_site.operations.dashboard.snapshots.MAX_PAGE_SECONDS",
    *(
        "memory_site.operations.health.runner.CHECK_TIMEOUT_SECONDS",
        "memory_site.operations.health.latest.FIRST_WAIT_SECONDS",
    ),
)

# Slow generation is a fault of a busy machine, not of the code. The examples are the same in every run: other ones are
# searched for with `--hypothesis-profile explore`.
STEADY = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("explore", **STEADY, derandomize=False)
hypothesis.settings.register_profile("suite", **STEADY, derandomize=True)
hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for processes begins first, then the files with most tests: no worker has a long one alone at the end.

    In a file those tests come last whose rows are there for the module: the others would meet them.
    """
    files = Counter(item.path for item in items)
    for item in items:
        if item.path.parent.name in WAITING:
            item.add_marker(item.path.parent.name)
    items.sort(key=lambda item: (*get_file_order(item.path, files), "module_transaction" in item.fixturenames))


def get_file_order(file: Path, tests: Counter[Path]) -> tuple[int, int, Path]:
    folder = file.parent.name
    return (WAITING.index(folder), 0, file) if folder in WAITING else (len(WAITING), -tests[file], file)


class Scheduling(LoadFileScheduling):
    """A worker takes one file after the other, and all of tests/stack, whose two sites start once then; not a file that
    uses neither of them. Nor do files that share a cluster, or a site and a browser, go to several workers."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        shared = [folder for folder in (STACK, BROWSER, CLUSTER) if file.startswith(folder) and file not in OWN_SITES]
        return shared[0] if shared else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return Scheduling(config, log)


@cache
def get_handler() -> Callable:
    """One for all callers and the console: loading the middleware takes longer than most tests."""
    handler = ClientHandler(enforce_csrf_checks=False)
    handler.load_middleware()
    return keep_raw_path(handler)


class Api:
    """Talks JSON to the API as one key's holder."""

    def __init__(self, token: str | None) -> None:
        self.client = Client(raise_request_exception=False)
        self.client.handler = get_handler()
        self.token = token

    def call(self, method: str, path: str, body: object = None, **headers: str):
        return self.raw(method, path, None if body is None else json.dumps(body), **headers)

    def raw(self, method: str, path: str, body: str | bytes | None, **headers: str):
        """A request whose body is already bytes, JSON or not."""
        content = {} if body is None else {"data": body, "content_type": "application/json"}
        if self.token:
            headers = {"Authorization": f"Bearer {self.token}"} | headers
        return self.client.generic(method, f"/api/v1{path}", headers=headers, **content)

    def get(self, path: str, **headers: str):
        return self.call("GET", path, **headers)

    def post(self, path: str, body: object = None, **headers: str):
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: object):
        return self.call("PATCH", path, body)

    def delete(self, path: str):
        return self.call("DELETE", path)

    def add(self, content: str, **fields: object) -> dict:
        response = self.post("/memories", {"content": content, **fields})
        assert response.status_code in (200, 201), response.content
        return response.json()

    def search(self, query: str | None, **fields: object) -> dict:
        body = fields if query is None else {"query": query, **fields}
        response = self.post("/memories/search", body)
        assert response.status_code == 200, response.content
        return response.json()


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> Iterator[None]:
    """Asked for by pytest-django before it makes the test database: the moment the services must be there."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            durable = Postgres._settings
            patch.setattr(Postgres, "_settings", lambda self: [*durable(self), *(f"--{each}" for each in NOT_DURABLE)])
            if "PYTEST_XDIST_WORKER" in os.environ:
                share_migration()
            stack.enter_context(ensure_services(project.HOME))
        # On a busy machine fifty threads that connect at once wait longer than the site's three seconds.
        connection.settings_dict["OPTIONS"]["connect_timeout"] = 60
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(
            TransactionTestCase, "_fixture_teardown", lambda self: empty_tables()
        )
        yield


def share_migration() -> None:
    """One of several workers migrates a database, of which each makes its test database a copy."""
    copy_new_database(project.HOME)
    database = connection.settings_dict
    database["PASSWORD"] = project.HOME.database["PASSWORD"]
    database["TEST"]["TEMPLATE"] = database["NAME"]


@cache
def emptied_tables() -> list[str]:
    """All but those whose rows come from the models and the migrations, and not from any test."""
    kept = (Permission, ContentType, DatabaseRelease, Group, Group.permissions.through, SeededGrant)
    tables = {model._meta.db_table for model in kept}
    return [table for table in connection.introspection.django_table_names(only_existing=True) if table not in tables]


def empty_tables() -> None:
    """After a test with transactions of its own. Django's flush would make all permissions again, which takes longer
    than most of these tests."""
    rows = [f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in emptied_tables()]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(rows))
        if full := [table for (table,) in cursor.fetchall()]:
            cursor.execute(f"TRUNCATE {', '.join(full)} CASCADE")
        statistics = UserStatistics._meta.db_table
        cursor.execute(f"SELECT EXISTS (SELECT FROM {statistics})")
        if cursor.fetchone() == (True,):
            cursor.execute(f"REFRESH MATERIALIZED VIEW {statistics}")  # else the next file would find its users


@pytest.fixture(scope="module")
def module_transaction(django_db_setup, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """For fixtures of a module's scope that make rows: each test undoes what it did to them, and this undoes them."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def namespace(db) -> Namespace:
    return Namespace.objects.create(id=1, name="ours")  # real ids are random: lists would come in either order


@pytest.fixture
def api(namespace: Namespace) -> Api:
    return Api(ApiKey.objects.issue(namespace, scopes=SCOPES)[1])


@pytest.fixture
def reader(namespace: Namespace) -> Api:
    return Api(ApiKey.objects.issue(namespace, scopes=("read",))[1])


@pytest.fixture
def outsider(db) -> Api:
    """Holds a good key of another namespace, and must see nothing of ours."""
    return Api(ApiKey.objects.issue(Namespace.objects.create(name="theirs"), scopes=SCOPES)[1])


@pytest.fixture
def stranger(db) -> Api:
    return Api(None)


@pytest.fixture
def console(client, django_user_model):
    """The signed-in operator's browser."""
    # Without a password: hashing one takes longer than any of these pages.
    client.force_login(django_user_model.objects.create(username="operator", is_staff=True, is_superuser=True))
    client.raise_request_exception = False
    client.handler = get_handler()
    return client


@pytest.fixture
def elsewhere(db) -> Namespace:
    return Namespace.objects.create(id=2, name="elsewhere")


@pytest.fixture
def embedder(settings) -> Callable[..., embeddings.Embedder]:
    """Chooses one of tests.embedders by name, with its model and options."""

    def choose(name: str, model: str = "hashing-1", **options: object) -> embeddings.Embedder:
        settings.EMBEDDINGS = {"default": {"BACKEND": f"tests.embedders.{name}", "MODEL": model, "OPTIONS": options}}
        clear_all_caches()
        return embeddings.get_embedder()

    return choose


@pytest.fixture(autouse=True)
def clear_caches() -> Iterator[None]:
    yield
    clear_all_caches()


@pytest.fixture(autouse=True)
def take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TIME_LIMITS:
        monkeypatch.setattr(name, 60.0)


@pytest.fixture(autouse=True)
def flush_nothing_by_itself(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Seen memories and used keys are stored when a test calls `flush`: a thread would see no row of a test's
    transaction."""
    for each in (SeenMemories, KeyUsage):
        monkeypatch.setattr(each, "flush_later", lambda self: None)
    yield
    seen_memories.reset()
    key_usage.reset()


@pytest.fixture
def remembered_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder of a key is looked up once in a test, however long it takes."""
    monkeypatch.setattr(auth, "caller_cache", Cache(auth.MAX_CACHED_TOKENS, seconds=600))


@pytest.fixture
def takes(api: Api, namespace: Namespace, remembered_callers: None, django_assert_num_queries: Callable) -> Callable:
    """`with takes(1):` counts the statements of a request whose caller, and the model that serves him, are known."""
    set_initial_model([namespace.pk], embeddings.get_embedder().model)
    auth.find_caller(api.token)
    return django_assert_num_queries
