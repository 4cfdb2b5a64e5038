"""Background work goes on namespace by namespace: what stops it in one stops no other."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.models import Q
from django.utils import timezone

from ingestion.tasks import ingest_due
from memories.graph.models import UserTotal
from memories.graph.tasks import join_waiting, refresh_statistics
from memories.insights.tasks import adopt_insights, prune_insights
from memories.knowledge.tasks import forget_outdated, remove_empty_clusters, settle_clusters
from memories.models import Memory
from memories.tasks import delete_expired, reembed_due
from memory_site.core.db import locks
from sessions_app.models import ApiKey, Namespace, SessionMemory
from sessions_app.namespaces import NamespacesFailed, find_namespaces, for_each_namespace
from sessions_app.tasks import delete_old_idempotency_keys, delete_outdated_sessions
from tests.conftest import Api

LONG_AGO = timezone.now() - timedelta(days=200)
TASKS = [
    delete_expired, delete_outdated_sessions, delete_old_idempotency_keys, forget_outdated, prune_insights,
    adopt_insights, settle_clusters, remove_empty_clusters, join_waiting, reembed_due, ingest_due,
]  # fmt: skip


@pytest.fixture
def spaces(db) -> list[Namespace]:
    return [Namespace.objects.create(name=name, forgets_outdated=True) for name in ("first", "second", "third")]


# The loop


def test_the_results_are_added_up(spaces):
    assert for_each_namespace(lambda pk: 2, [each.pk for each in spaces]) == 6


def test_an_error_is_logged_with_the_name_and_the_others_go_on(spaces, caplog):
    served = []

    def serve(pk: int) -> int:
        if pk == spaces[0].pk:
            raise ValueError("stuck")
        served.append(pk)
        return 1

    with pytest.raises(NamespacesFailed, match="serve failed in first; see the log"):
        for_each_namespace(serve, [each.pk for each in spaces])
    assert served == [spaces[1].pk, spaces[2].pk]
    [record] = [each for each in caplog.records if each.thread == threading.get_ident()]
    assert record.getMessage() == "serve failed in the namespace first"
    assert "stuck" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_lost_connection_is_replaced(spaces):
    def lose_connection(pk: int) -> int:
        with connection.cursor() as cursor:
            if pk == spaces[0].pk:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            cursor.execute("SELECT 1")
        return 1

    with pytest.raises(NamespacesFailed, match="first"):
        for_each_namespace(lose_connection, [each.pk for each in spaces])


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_is_not_asked_for_each_namespace(spaces, monkeypatch):
    asked = []

    def lose_database(pk: int) -> int:
        asked.append(pk)
        connection.close()
        monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")
        raise OperationalError("gone")

    with pytest.raises(OperationalError):
        for_each_namespace(lose_database, [each.pk for each in spaces])
    assert asked == [spaces[0].pk]


@pytest.mark.django_db(transaction=True)
def test_every_namespace_is_looked_into_where_one_statement_cannot(spaces):
    unreadable = Memory.objects.extra(where=["1 / (random() * 0)::int = 1 AND 1 / 0 = 1"])
    assert set(find_namespaces(unreadable)) >= {each.pk for each in spaces}


# The tasks


def make_work(api: Api, namespace: Namespace) -> None:
    """Something for the clean-ups to delete: an expired memory, a session, an outdated memory, an empty cluster."""
    api.add("expired", tags=["x"], user_id="ada")
    api.add("outdated", importance=1, user_id="ada")
    api.post("/sessions/s/interactions", {"interactions": [{"query": "q", "answer": "a"}]})
    Memory.objects.filter(namespace=namespace, content="expired").update(expires_at=LONG_AGO)
    Memory.objects.filter(namespace=namespace, content="outdated").update(
        created_at=LONG_AGO, updated_at=LONG_AGO, last_seen_at=LONG_AGO
    )
    SessionMemory.objects.filter(namespace=namespace).update(updated_at=LONG_AGO)


@contextmanager
def locked_rows(*tables: str, namespace: Namespace):
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            for table in tables:
                cursor.execute(f"SELECT FROM {table} WHERE namespace_id = %s FOR UPDATE", [namespace.pk])
        yield
    finally:
        other.close()


@pytest.fixture
def stuck(transactional_db, spaces, monkeypatch):
    """Each namespace has work, and the rows of the first are locked."""
    monkeypatch.setattr(locks, "MAX_BACKGROUND_WAIT_SECONDS", 0.1)
    for namespace in spaces:
        make_work(Api(ApiKey.objects.issue(namespace)[1]), namespace)
    with locked_rows("memories_memory", "sessions_app_sessionmemory", "graph_usertotal", namespace=spaces[0]):
        yield spaces


@pytest.mark.django_db(transaction=True)
def test_clean_ups_go_on_beside_a_namespace_whose_rows_are_locked(stuck):
    assert delete_expired() == len(stuck) - 1  # it leaves out rows that are locked
    for task in (forget_outdated, delete_outdated_sessions, refresh_statistics):
        with pytest.raises(NamespacesFailed, match="failed in first;"):
            task()
    remaining = Q(namespace__in=stuck[1:])
    assert not Memory.objects.filter(remaining).exists()
    assert not SessionMemory.objects.filter(remaining).exists()
    assert not UserTotal.objects.filter(remaining).exists()
    assert Memory.objects.filter(namespace=stuck[0]).count() == 2


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name.rpartition(".")[2])
def test_idle_namespaces_cost_one_statement(db, task, django_assert_num_queries):
    Namespace.objects.bulk_create([Namespace(name=f"space {number}") for number in range(30)])
    with django_assert_num_queries(1):
        assert task() == 0
