"""Deleted vectors leave the index of the vectors."""

from datetime import timedelta

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection, transaction

from memories import tasks, vacuum
from memories.models import Memory
from memories.vacuum import VectorRows, count_vector_rows, list_parts
from memory_site.core.leases.leases import hold_lease
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.health.runner import check_components
from memory_site.operations.selftest.scratch_site import wait_until
from tests.memories.test_search import add_vectors, build_unit_vector


@pytest.fixture
def table(transactional_db, monkeypatch):
    """The table of vectors without dead rows, which PostgreSQL does not vacuum by itself."""
    monkeypatch.setattr(vacuum, "MIN_DEAD_ROWS", 20)
    monkeypatch.setattr(vacuum, "MIN_INTERVAL", timedelta(0))
    flush_statistics()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE memories_embedding SET (autovacuum_enabled = off)")
        cursor.execute("TRUNCATE memories_embedding")
    flush_statistics()
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE memories_embedding RESET (autovacuum_enabled)")


def flush_statistics() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")


def list_leftover_indexes() -> list[str]:
    return [name for part in list_parts() for name in part.list_leftover_indexes()]


def count_rows() -> tuple[int, int]:
    flush_statistics()
    rows = count_vector_rows(list_parts())
    return rows.live, rows.dead


def check_vacuum(live: int) -> None:
    """Check that the task removes all dead rows. A statement or an ANALYZE of PostgreSQL's own that began before may
    still see them; then the next run does."""
    wait_until(lambda: tasks.vacuum_due() and count_rows() == (live, 0), 60, "the dead rows are removed")


# What the task does


def test_vectors_deleted_by_filter_are_removed(api, table):
    add_vectors(api, 60, tags=["kept"])
    add_vectors(api, 40, tags=["gone"])
    assert not tasks.vacuum_due()
    assert api.post("/memories/delete", {"filters": {"tags": ["gone"]}}).json()["deleted"] == 40
    assert count_rows() == (60, 40)
    check_vacuum(60)
    assert len(api.search(None, vector=build_unit_vector(1), limit=100)["results"]) == 60


def test_vectors_of_a_rolled_back_import_are_removed(api, table):
    add_vectors(api, 60)
    with transaction.atomic():
        add_vectors(api, 30, tags=["half"])
        transaction.set_rollback(True)
    assert count_rows() == (60, 30)
    check_vacuum(60)


def test_a_server_that_forgot_its_counts_does_not_take_few_deleted_vectors_for_all(api, table, settings):
    """So it is after a crash, or a recovery to a moment."""
    add_vectors(api, 600, tags=["kept"])
    add_vectors(api, 25, tags=["gone"])
    flush_statistics()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE memories_embedding")
    server = connection.settings_dict
    superuser = {"user": "postgres", "password": settings.HOME.secret("postgres")}
    with psycopg.connect(host=server["HOST"], dbname=server["NAME"], autocommit=True, **superuser) as opened:
        opened.execute("SELECT pg_stat_reset()")
    assert count_rows() == (625, 0)
    api.post("/memories/delete", {"filters": {"tags": ["gone"]}})
    assert count_rows() == (600, 25)
    assert not tasks.vacuum_due()


def test_few_dead_rows_are_left_alone(api, table):
    add_vectors(api, 60)
    Memory.objects.filter(pk__in=Memory.objects.values("pk")[:19]).delete()
    assert count_rows() == (41, 19)
    assert not tasks.vacuum_due()


@pytest.mark.parametrize(("live", "dead", "needed"), [(20_000, 1_000, False), (19_000, 1_000, True), (0, 999, False)])
def test_dead_rows_are_compared_with_all_rows(live, dead, needed):
    assert VectorRows(live, dead).need_vacuum == needed


def test_next_vacuum_waits(api, table, monkeypatch):
    """Dead rows that a long transaction still sees stay: without a pause the index would be rebuilt every minute."""
    for pause, expected in ((timedelta(0), True), (timedelta(minutes=15), False)):
        monkeypatch.setattr(vacuum, "MIN_INTERVAL", pause)
        add_vectors(api, 60)
        Memory.objects.all().delete()
        assert count_rows() == (0, 60)
        assert tasks.vacuum_due() is expected


def test_only_one_process_vacuums(api, table):
    add_vectors(api, 60)
    Memory.objects.all().delete()
    flush_statistics()
    with hold_lease("vacuum of memories_embedding"):
        assert not tasks.vacuum_due()
        with pytest.raises(CommandError, match="Another process rebuilds the index"):
            call_command("vacuum_vectors")
    assert count_rows() == (0, 60)


def test_index_of_an_interrupted_rebuild_is_dropped(api, table):
    add_vectors(api, 5)
    with connection.cursor() as cursor, pytest.raises(IntegrityError):
        cursor.execute("CREATE UNIQUE INDEX CONCURRENTLY embedding_nearest_ccnew ON memories_embedding (model)")
    assert list_leftover_indexes() == ["embedding_nearest_ccnew"]
    assert get_component().message == "A rebuild of the index was interrupted and left an invalid index."
    assert tasks.vacuum_due()
    assert list_leftover_indexes() == []


def test_settings_of_the_connection_stay(api, table):
    def read_settings() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT setting FROM pg_settings WHERE name = ANY(%s)", [list(vacuum.SETTINGS)])
            return [setting for (setting,) in cursor.fetchall()]

    before = read_settings()
    call_command("vacuum_vectors")
    assert read_settings() == before


def test_task_runs_every_minute(settings):
    [entry] = [each for each in settings.CELERY_BEAT_SCHEDULE.values() if each["task"] == tasks.vacuum_due.name]
    assert entry["schedule"] == 60


# What the operator sees


def get_component():
    (component,) = check_components(("vectors",))
    return component


def test_doctor_names_the_command(api, table, monkeypatch):
    monkeypatch.setattr("memory_site.operations.health.embedding.MIN_DEAD_ROWS", 20)
    add_vectors(api, 60)
    assert get_component().status == HealthStatus.HEALTHY
    Memory.objects.filter(pk__in=Memory.objects.values("pk")[:30]).delete()
    flush_statistics()
    component = get_component()
    assert (component.status, component.mend) == (HealthStatus.DEGRADED, "python manage.py vacuum_vectors")
    assert component.message == "30 of 60 vectors are deleted, but not removed."


def test_command_tells_what_it_removed(api, table, capsys):
    add_vectors(api, 60)
    Memory.objects.filter(pk__in=Memory.objects.values("pk")[:30]).delete()
    flush_statistics()
    call_command("vacuum_vectors")
    assert capsys.readouterr().out == "Rebuilt; 30 of 60 rows were dead.\n"
    assert get_component().message == "0 of 30 vectors are deleted."
