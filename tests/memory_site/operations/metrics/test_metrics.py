"""GET /metrics: who may read it, what it says of the store, and what it says while the database is away."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from ingestion.models import Ingestion
from memories.models import DueEmbedding, NamespaceSize
from memory_site.core.metrics.counters import PREFIX, bounds, registry
from memory_site.operations.metrics import access, figures, pitr, processes, store
from memory_site.operations.metrics.exposition import ALL_FIGURES, SOURCES, list_metrics
from memory_site.operations.metrics.figures import Figure, Source, read_sources
from memory_site.operations.models import Backup, Heartbeat
from memory_site.operations.pitr.facts import PitrFacts
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.wal_report import WalReport, WalState
from memory_site.operations.selftest.scratch_site import wait_until
from sessions_app import auth
from tests.exposition import read_samples

ADDRESS = "/metrics"
[HEALTH] = [source for source in SOURCES if source.name == "health"]


@pytest.fixture(autouse=True)
def read_in_this_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread would see no row of a test's transaction; closing the connection would end it."""

    class Here(threading.Thread):
        def start(self) -> None:
            self.run()

        def join(self, timeout: float | None = None) -> None: ...

    for module in (figures, access):
        monkeypatch.setattr(module, "threading", SimpleNamespace(Thread=Here))
        monkeypatch.setattr(module, "connections", SimpleNamespace(close_all=lambda: None))
    for source in SOURCES:
        source.forget()
    monkeypatch.setattr(HEALTH, "read", lambda: [])  # asks other programs: only where it is looked at


@pytest.fixture
def scrape(api, client) -> Callable[[], dict[str, float]]:
    def scrape() -> dict[str, float]:
        for source in SOURCES:
            source.forget()
        response = client.get(ADDRESS, headers={"Authorization": f"Bearer {api.token}"})
        assert response.status_code == 200, response.content
        return read_samples(response.content.decode())

    return scrape


def test_it_needs_a_key(client, api):
    client.raise_request_exception = False
    for authorization in ("", "Bearer ", "Bearer mem_wrong", f"Basic {api.token}", "Bearer " + "é" * 300, api.token):
        response = client.get(ADDRESS, headers={"Authorization": authorization})
        assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json"), authorization
        assert response["WWW-Authenticate"] == "Bearer"


def test_a_key_that_may_only_read_is_enough(client, reader):
    assert client.get(ADDRESS, headers={"Authorization": f"Bearer {reader.token}"}).status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_is_only_read(client, api, method):
    response = getattr(client, method)(ADDRESS, headers={"Authorization": f"Bearer {api.token}"})
    assert response.status_code == 405


def test_head_has_no_body(client, api):
    response = client.head(ADDRESS, headers={"Authorization": f"Bearer {api.token}"})
    assert (response.status_code, response.content) == (200, b"")


def test_it_is_prometheus_s_text_format(client, api):
    response = client.get(ADDRESS, headers={"Authorization": f"Bearer {api.token}"})
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(response.content.decode()))
    assert len({family.name for family in families}) == len(families) > 30
    assert all(family.documentation and family.name.startswith(f"{PREFIX}_") for family in families)


def test_every_name_is_that_of_the_list(scrape):
    known = {name for name, *_ in list_metrics()}
    shown = {sample.partition("{")[0] for sample in scrape()}
    for suffix in ("_bucket", "_sum", "_count"):
        shown = {name.removesuffix(suffix) if name.removesuffix(suffix) in bounds else name for name in shown}
    assert shown <= known


def test_it_says_what_is_stored(scrape, api, namespace):
    api.add("The harbour opens at nine.")
    api.add("The harbour closes at six.")
    DueEmbedding.objects.update(queued_at=timezone.now() - timedelta(hours=3))
    DueEmbedding.objects.filter(memory__content__contains="six").update(error="too long")
    api.post("/sessions/s/interactions", {"query": "When?", "answer": "At nine."})
    Ingestion.objects.create(namespace=namespace, repo_id="r", path="/r", status="pending")
    figures = scrape()
    assert figures["memory_site_up"] == figures["memory_site_namespaces"] == figures["memory_site_sessions"] == 1
    assert figures["memory_site_memories"] == 2
    assert figures['memory_site_embedding_backlog{state="waiting"}'] == 1
    assert figures['memory_site_embedding_backlog{state="refused"}'] == 1
    assert figures["memory_site_embedding_oldest_seconds"] == pytest.approx(3 * 3600, abs=60)
    assert figures['memory_site_ingestions{status="pending"}'] == 1
    assert figures['memory_site_ingestions{status="in_progress"}'] == 0


def test_a_memory_that_is_put_off_again_and_again_still_grows_older(scrape, api):
    """`due_at` moves with every attempt: by it, an embedder that is away for a day would look like twenty seconds."""
    api.add("The harbour opens at nine.")
    DueEmbedding.objects.update(queued_at=timezone.now() - timedelta(days=1))
    DueEmbedding.objects.all().postpone(timedelta(seconds=20))
    assert scrape()["memory_site_embedding_oldest_seconds"] == pytest.approx(24 * 3600, abs=60)


def test_large_tables_are_estimated_and_not_counted(scrape, api, namespace, monkeypatch):
    for number in range(5):
        api.add(f"The harbour has berth {number}.")
    NamespaceSize.objects.create(namespace=namespace, memories=7, memories_in_index=7)
    monkeypatch.setattr(store, "MAX_COUNTED_ROWS", 3)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE memories_dueembedding")
    figures = scrape()
    assert figures['memory_site_embedding_backlog{state="waiting"}'] == 5
    assert figures["memory_site_memories"] == 7


def test_it_says_what_postgresql_says_of_itself(scrape):
    figures = scrape()
    assert figures["memory_site_database_size_bytes"] > 1_000_000
    assert figures["memory_site_database_connections_max"] >= 60
    assert figures['memory_site_database_connections{state="active"}'] >= 1
    assert figures['memory_site_vectors{state="dead"}'] >= 0
    assert figures['memory_site_disk_free_bytes{place="data"}'] > 0
    assert "memory_site_wal_archive_gap_bytes" not in figures  # there is no archive


def test_the_gap_of_an_archive_begins_behind_its_last_segment(monkeypatch, db):
    from memory_site.operations.metrics import database  # noqa: PLC0415

    sql = database.SELECT_ARCHIVE_SQL.replace("<> 'off'", "= 'off'").replace(
        "FROM pg_stat_archiver", "FROM (SELECT now() last_archived_time, 3 failed_count, %s last_archived_wal) archiver"
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_lsn() - '0/1000000'::pg_lsn")  # where the first segment ends
        [written] = cursor.fetchone()
        cursor.execute(sql, [f"{'1':>08}{'0' * 16}"])
        _, failures, gap = cursor.fetchone()
        cursor.execute("SELECT pg_current_wal_lsn() - '0/1000000'::pg_lsn")
        [written_since] = cursor.fetchone()
        cursor.execute(sql, ["00000002.history"])
        assert cursor.fetchone()[2] is None
    assert failures == 3
    assert 0 < written <= gap <= written_since


def test_only_a_verified_backup_counts(scrape):
    assert scrape()['memory_site_backup_last_timestamp_seconds{state="verified"}'] == 0
    monday, tuesday = datetime(2026, 11, 30, 2, tzinfo=UTC), datetime(2026, 12, 1, 2, tzinfo=UTC)
    Backup.objects.create(
        name="monday", state="verified", started_at=monday, verified_at=tuesday, size_bytes=7, restore_seconds=1.5,
        offsite_state="copied",
    )  # fmt: skip
    Backup.objects.create(name="tuesday", state="written", started_at=tuesday)
    Backup.objects.create(name="wednesday", state="bad", started_at=tuesday + timedelta(days=1))
    figures = scrape()
    last = {state: figures[f'memory_site_backup_last_timestamp_seconds{{state="{state}"}}'] for state in
            ("written", "verified", "offsite")}  # fmt: skip
    assert last == {"written": tuesday.timestamp(), "verified": monday.timestamp(), "offsite": monday.timestamp()}
    assert figures["memory_site_backup_last_verification_timestamp_seconds"] == tuesday.timestamp()
    assert figures['memory_site_backups{state="bad"}'] == 1
    assert figures["memory_site_backup_last_restore_seconds"] == 1.5
    assert figures["memory_site_backup_last_size_bytes"] == 7


def test_a_worker_that_is_missing_shows(scrape):
    began = time.monotonic()
    for name, kind, age in (("worker here", "worker", 5), ("worker gone", "worker", 500), ("beat", "beat", 7)):
        Heartbeat.objects.create(name=name, kind=kind, seen_at=Now() - timedelta(seconds=age))
    figures = scrape()
    assert figures['memory_site_heartbeats{kind="worker",state="alive"}'] == 1
    assert figures['memory_site_heartbeats{kind="worker",state="missing"}'] == 1
    assert figures['memory_site_heartbeats{kind="beat",state="alive"}'] == 0
    assert 5 <= figures['memory_site_heartbeat_age_seconds{kind="worker"}'] <= 5 + time.monotonic() - began


def test_health_is_a_number_for_each_check(scrape, monkeypatch):
    monkeypatch.setattr(HEALTH, "read", processes.read_health)
    figures = scrape()
    assert figures['memory_site_health_status{component="pgvector"}'] == 0
    assert figures['memory_site_health_status{component="worker"}'] == 1
    assert figures["memory_site_health"] >= 1


def test_a_cluster_s_fault_in_one_source_hides_no_other(scrape, monkeypatch):
    monkeypatch.setattr(Heartbeat.objects, "with_age", fail)
    figures = scrape()
    assert figures['memory_site_collector_success{collector="heartbeats"}'] == 0
    assert figures['memory_site_collector_success{collector="backups"}'] == figures["memory_site_up"] == 1
    assert not [name for name in figures if name.startswith("memory_site_heartbeats")]


def fail(*_: object, **__: object) -> None:
    raise OperationalError("the database is away\nHINT: a secret")


def test_without_the_database_a_key_that_was_valid_before_still_reads_what_processes_count(client, api, monkeypatch):
    authorization = {"Authorization": f"Bearer {api.token}"}
    assert client.get(ADDRESS, headers=authorization).status_code == 200
    for source in SOURCES:
        source.forget()
        monkeypatch.setattr(source, "read", fail)
    monkeypatch.setattr(access, "find_caller", fail)
    response = client.get(ADDRESS, headers=authorization)
    figures = read_samples(response.content.decode())
    assert (response.status_code, figures["memory_site_up"]) == (200, 0)
    assert figures['memory_site_requests_total{operation="metrics",status="200"}'] >= 1
    client.raise_request_exception = False
    response = client.get(ADDRESS, headers={"Authorization": "Bearer mem_unseen"})
    assert (response.status_code, response["Content-Type"]) == (503, "application/problem+json")
    auth.namespace_cache.clear()
    assert client.get(ADDRESS, headers=authorization).status_code == 503


def test_labels_tell_nothing_of_users(scrape, api, namespace):
    secret = "ada-lovelace"
    api.add(f"Of {secret}.", user_id=secret)
    api.get(f"/users/{secret}/memories")
    api.get(f"/nothing/{secret}")
    api.search(secret)
    figures = scrape()
    assert not [name for name in figures if secret in name or namespace.name in name.replace("hours", "")]
    assert figures['memory_site_requests_total{operation="load_user_memories",status="200"}'] >= 1
    assert figures['memory_site_requests_total{operation="other",status="404"}'] >= 1


def test_stores_and_searches_are_counted_by_outcome(scrape, api, django_capture_on_commit_callbacks, embedder):
    before = scrape()
    with django_capture_on_commit_callbacks(execute=True):
        api.add("The harbour opens at nine.")
        api.add("The harbour opens at nine.")
        api.post("/memories/bulk", {"memories": [{"content": "One berth."}, {"content": "Two berths."}]})
        api.post("/memories", {"content": ""})
    api.search("harbour", mode="text")
    api.search("submarine", mode="text")
    embedder("Away")
    api.search("harbour")
    api.post("/memories/search", {"query": "harbour", "mode": "vector"})
    grown = {name: value - before.get(name, 0) for name, value in scrape().items()}
    stored = [grown[f'memory_site_memories_stored_total{{outcome="{each}"}}'] for each in ("created", "existing")]
    assert stored == [3, 1]
    assert grown['memory_site_searches_total{mode="text",outcome="found"}'] == 1
    assert grown['memory_site_searches_total{mode="text",outcome="empty"}'] == 1
    assert grown['memory_site_searches_total{mode="hybrid",outcome="degraded"}'] == 1
    assert grown['memory_site_searches_total{mode="vector",outcome="failed"}'] == 1
    assert grown['memory_site_requests_total{operation="add_memory",status="422"}'] == 1
    assert grown['memory_site_request_duration_seconds_count{operation="add_memory"}'] == 3


def test_a_store_that_is_rolled_back_is_not_counted(scrape, api, django_capture_on_commit_callbacks):
    before = scrape()['memory_site_memories_stored_total{outcome="created"}']
    with django_capture_on_commit_callbacks() as callbacks:
        api.add("The harbour opens at nine.")
    assert callbacks
    assert scrape()['memory_site_memories_stored_total{outcome="created"}'] == before


class TestSources:
    """With real threads."""

    @pytest.fixture(autouse=True)
    def read_in_this_thread(self) -> None:
        """Not here."""

    @pytest.fixture
    def stuck(self) -> Iterator[Source]:
        go_on = threading.Event()

        def read():
            go_on.wait()
            yield Figure("late", "").value(1)

        yield (source := Source("stuck", (), read))
        go_on.set()
        source._thread.join()

    def test_a_frozen_database_costs_bounded_time_and_one_thread(self, stuck, monkeypatch):
        monkeypatch.setattr(figures, "WAIT_SECONDS", 0.2)
        quick = Source("quick", (), lambda: [Figure("quick", "").value(7)], seconds=600)
        scrapes = [list(read_sources([stuck, quick])) for _ in range(3)]

        def has_quick_figure() -> bool:
            scrapes.append(list(read_sources([stuck, quick])))
            return [value.value for value in scrapes[-1] if value.figure.name == "quick"] == [7]

        wait_until(has_quick_figure, 60, "the other source is read")
        assert {scrape[0] for scrape in scrapes} == {figures.UP.value(0)}
        assert sum(thread.name == "metrics stuck" for thread in threading.enumerate()) == 1

    def test_scrapes_in_a_row_read_once(self):
        read = []
        source = Source("s", (), lambda: read.append(1) or [], seconds=600)
        for _ in range(3):
            list(read_sources([source]))
        assert len(read) == 1

    def test_a_database_that_does_not_answer_for_a_key_costs_a_few_threads_at_most(self, monkeypatch):
        go_on = threading.Event()
        monkeypatch.setattr(access, "ANSWER_SECONDS", 0.05)
        monkeypatch.setattr(access, "find_caller", lambda token: go_on.wait() and None)
        problems = {access.check_access(f"Bearer mem_{number}") for number in range(10)}
        late = [thread for thread in threading.enumerate() if thread.name == "metrics key"]
        go_on.set()
        for thread in late:
            thread.join()
        assert problems == {access.UNKNOWN}
        assert len(late) == access.MAX_LATE


def test_every_figure_belongs_to_a_source():
    assert {figure for source in SOURCES for figure in source.figures} <= set(ALL_FIGURES)
    assert len({figure.name for figure in ALL_FIGURES}) == len(ALL_FIGURES)


def test_buckets_are_declared_for_every_histogram():
    assert set(bounds) == {metric.name for metric in registry.collect() if metric.type == "histogram"}


def test_recovery_to_a_moment_shows_its_archive_and_its_drill(monkeypatch):
    segments = [Segment.parse(f"0000000100000000000000{number:02X}") for number in (1, 2, 3)]
    states = dict(zip(segments, (WalState.FOUND, WalState.FOUND, WalState.LOST), strict=True))
    drill = {"at": "2026-11-30T02:00:00+00:00", "ok": False}
    facts = PitrFacts(enabled=True, wal_bytes=7, report=WalReport(states), last_drill=drill)
    monkeypatch.setattr(pitr, "get_pitr_facts", lambda: facts)
    values = {(value.figure.name, *value.labels): value.value for value in pitr.read_pitr()}
    assert values["pitr_enabled",] == 1
    assert values["pitr_wal_bytes",] == 7
    assert [values["pitr_wal_segments", state] for state in ("found", "delayed", "lost")] == [2, 0, 1]
    assert values["pitr_last_drill_passed",] == values["pitr_last_base_timestamp_seconds",] == 0
    assert values["pitr_last_drill_timestamp_seconds",] == datetime(2026, 11, 30, 2, tzinfo=UTC).timestamp()


def test_without_it_no_alert_of_recovery_to_a_moment_has_a_figure(monkeypatch):
    monkeypatch.setattr(pitr, "get_pitr_facts", lambda: PitrFacts(enabled=False))
    assert list(pitr.read_pitr()) == [pitr.ENABLED.value(0)]
