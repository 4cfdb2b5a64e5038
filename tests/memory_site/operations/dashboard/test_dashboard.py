"""The console's first page: its figures, the rows behind each, and what it does when a card fails."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test.client import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from ingestion.models import Ingestion, PerformanceMetric, WorkflowExecution
from memories import tasks
from memories.cleanup.models import Duplicate, Inspection
from memories.jobs.models import Job, JobState
from memories.models import Memory
from memory_site.core.caches import clear_all_caches
from memory_site.operations.dashboard import snapshots
from memory_site.operations.dashboard.cards import CARDS
from memory_site.operations.dashboard.content import Card, Content, Figure, Scope
from memory_site.operations.dashboard.work import summarize_error
from memory_site.operations.health.latest import HealthReport, keep_report
from memory_site.operations.health.results import Component, HealthStatus
from memory_site.operations.models import Backup, BackupState, DiskSample
from sessions_app.models import Conversation
from tests.console import create_staff_user, query_context

pytestmark = pytest.mark.django_db
HEALTHY = Component("database", HealthStatus.HEALTHY, "Answers.")
FOR_EVER = float("inf")
BROKEN = Component("broker", HealthStatus.DEGRADED, "No answer.", "start it")


@pytest.fixture(autouse=True)
def checked() -> None:
    """The checks themselves are tested elsewhere; here a report is there already."""
    keep_report(HealthReport([HEALTHY, BROKEN], checked_at=FOR_EVER))


def fetch(client: Client, **parameters: object) -> dict:
    return query_context(client, reverse("admin:index"), **parameters)


def get_contents(context: dict) -> dict[str, Content]:
    failed = {shown.card.name: shown.snapshot.error for shown in context["cards"] if shown.snapshot.error}
    assert failed == {}
    return {shown.card.name: shown.snapshot.content for shown in context["cards"]}


def list_numbers(content: Content) -> Iterator[tuple[str, int, str]]:
    """Yield label, number and address of everything that a card counts."""
    yield from ((each.label, each.value, each.url) for each in content.figures)
    yield from ((each.label, each.value, each.url) for each in content.bars if not each.unit)
    for name, cells in content.chart.rows if content.chart else ():
        yield from ((name, cell.value, cell.url) for cell in cells)


def count_rows(client: Client, url: str) -> int:
    context = query_context(client, url)
    if "cl" in context:
        return context["cl"].paginator.count
    return len(context["components"] if "components" in context else context["table"]["rows"])


def get_notices(context: dict) -> list[str]:
    return [notice.text for notice in context["notices"]]


@pytest.fixture
def store(api, namespace, embedder):
    """Rows of everything that the dashboard counts, in two states where there are two."""
    embedder("Refusing")
    now = timezone.now()
    for number in range(3):
        api.add(f"note {number}", user_id="ada", created_at=(now - timedelta(hours=number, minutes=5)).isoformat())
    api.add("of last month", memory_type="technical_knowledge", created_at=(now - timedelta(days=20)).isoformat())
    api.add("of last year", source_system="agno", created_at=(now - timedelta(days=300)).isoformat())
    api.add("poison", user_id="ben")
    tasks.embed_due()
    api.add("waits", memory_type="domain_entity")
    api.post("/sessions/s1/interactions", {"query": "q", "answer": "a"})
    Conversation.objects.create(namespace=namespace)
    Conversation.objects.create(namespace=namespace, ended_at=now + timedelta(hours=1))
    for status in ("completed", "failed"):
        run = {"namespace": namespace, "repo_id": status, "path": "/", "status": status}
        Ingestion.objects.create(**run, error="OSError:\n  no such folder" if status == "failed" else "")
        execution = {"workflow_id": status, "adapter": "crew", "status": status, "error": "boom"}
        WorkflowExecution.objects.create(namespace=namespace, **execution, started_at=now, finished_at=now)
    for state in (JobState.RUNNING, JobState.FAILED):
        ended = {"finished_at": now} if state == JobState.FAILED else {}
        Job.objects.create(namespace=namespace, action="delete", state=state, matched=9, started_at=now, **ended)
    Backup.objects.create(name="a", state=BackupState.VERIFIED, started_at=now, verified_at=now)
    Backup.objects.create(name="b", state=BackupState.BAD, started_at=now)
    DiskSample.objects.create(machine="m", path="/data", free_bytes=10, total_bytes=100)
    changed, gone = (api.add(name) for name in ("of yesterday", "gone"))
    api.patch(f"/memories/{changed['id']}", {"importance": 5})
    api.delete(f"/memories/{gone['id']}")
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="days")
    PeriodicTask.objects.create(name="nightly", task="t", interval=every)
    PeriodicTask.objects.create(name="off", task="t", interval=every, enabled=False)
    keep_report(HealthReport([HEALTHY, BROKEN], checked_at=FOR_EVER))  # the embedder emptied all caches
    return namespace


@pytest.mark.parametrize("period", ["24h", "30d", "1y"])
def test_every_number_leads_to_as_many_rows(admin_client, store, period):
    contents = get_contents(fetch(admin_client, period=period))
    numbers = {(name, label, value, url) for name, each in contents.items() for label, value, url in list_numbers(each)}
    if period != "24h":  # the other cards do not change with the period
        numbers = {each for each in numbers if each[0] == "growth"}
    assert len(numbers) > 5
    wrong = [each for each in numbers if count_rows(admin_client, each[3]) != each[2]]
    assert wrong == []


def test_the_figures(admin_client, store):
    contents = get_contents(fetch(admin_client))
    figures = {name: {each.label: each.value for each in content.figures} for name, content in contents.items()}
    assert figures["growth"] == {"in the last 30 days": 7}
    assert figures["types"] == {"memories": 8}
    assert figures["queue"] == {"waiting": 2, "refused": 1}
    assert figures["changes"] == {"created": 4, "changes": 1, "deleted": 1}
    assert figures["sessions"] == {"in 24 hours": 1, "in the last hour": 1, "kept in all": 1}
    assert figures["conversations"] == {"open": 1, "conversations": 2}
    assert figures["ingestions"] == figures["workflows"] == {"completed": 1, "failed": 1}
    assert figures["jobs"] == {"running": 1, "failed": 1}
    assert figures["backups"] == {"verified": 1, "bad": 1, "in all": 2}
    assert figures["schedules"] == {"on": 1, "switched off": 1}
    assert figures["health"] == {"healthy": 1, "degraded": 1}
    assert figures["users"] == {"users": 2}
    bars = {name: {each.label: each.value for each in content.bars} for name, content in contents.items()}
    assert bars["types"] == {"agent": 6, "technical knowledge": 1, "domain entity": 1}
    assert bars["users"] == {"ada": 3, "ben": 1}
    assert bars["sources"] == {"api": 7, "agno": 1}
    assert bars["disks"] == {"/data": 90}
    assert [line.detail for line in contents["ingestions"].lines] == ["OSError: no such folder"]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_takes_one_statement(card, store, django_assert_max_num_queries):
    with django_assert_max_num_queries(1):
        card.build(Scope())


@pytest.mark.parametrize("change", ["expires_at = now()", "state = 'quarantined'"])
def test_what_no_list_shows_is_not_counted(admin_client, api, change):
    api.add("stays", user_id="ada")
    gone = api.add("goes", user_id="ada")
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE memories_memory SET {change} WHERE id = %s", [gone["id"]])
    contents = get_contents(fetch(admin_client))
    assert [contents[name].figures[0].value for name in ("growth", "types", "queue", "changes")] == [1, 1, 1, 1]
    assert [each.value for name in ("types", "users", "sources") for each in contents[name].bars] == [1, 1, 1]


def test_a_namespace_narrows_the_figures(admin_client, api, outsider, namespace):
    api.add("ours", user_id="ada")
    outsider.add("theirs", user_id="eve")
    contents = get_contents(fetch(admin_client, namespace=namespace.pk))
    assert contents["types"].figures[0].value == 1
    assert [each.label for each in contents["users"].bars] == ["ada"]
    assert f"namespace={namespace.pk}" in contents["types"].figures[0].url
    assert get_contents(fetch(admin_client))["types"].figures[0].value == 2


@pytest.mark.parametrize("parameters", [{"namespace": "x"}, {"namespace": "9" * 30}, {"period": "a\0b"}, {"q": "\0"}])
def test_strange_parameters_show_the_page(admin_client, parameters):
    assert admin_client.get(reverse("admin:index"), parameters).status_code == 200


def test_an_empty_store_says_how_it_fills(admin_client):
    contents = get_contents(fetch(admin_client))
    assert all(content.empty or content.figures or content.note for content in contents.values())
    assert "Nothing is stored yet" in contents["types"].empty


# Cards that fail


def test_a_card_that_fails_says_so_and_the_rest_stands(admin_client, api, monkeypatch):
    api.add("stored")

    def divide_by_zero(_):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    broken = Card("broken", "Broken", "memories.view_memory", divide_by_zero)
    monkeypatch.setattr("memory_site.operations.dashboard.view.CARDS", (broken, *CARDS))
    first, *others = fetch(admin_client)["cards"]
    assert "database" in first.snapshot.error
    assert first.snapshot.content is None
    assert {shown.snapshot.error for shown in others} == {""}


def test_a_slow_card_is_ended_and_its_last_content_stays(admin_client, monkeypatch):
    pauses = [0, 60]

    def sleep(_):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(%s)", [pauses.pop(0)])
        return Content(figures=[Figure("rows", 5)])

    slow = Card("slow", "Slow", "memories.view_memory", sleep, is_kept=False)
    monkeypatch.setattr("memory_site.operations.dashboard.view.CARDS", (slow,))
    assert fetch(admin_client)["cards"][0].snapshot.error == ""
    monkeypatch.setattr(snapshots, "MAX_CARD_SECONDS", 0.1)
    response = admin_client.get(reverse("admin:index"))
    assert response.context["cards"][0].snapshot.error == snapshots.TOO_SLOW
    assert ">5<" in response.content.decode()


def test_figures_are_kept_for_a_minute(admin_client, api, monkeypatch):
    assert snapshots.MAX_AGE_SECONDS == 60
    monkeypatch.setattr(snapshots, "MAX_AGE_SECONDS", 600)
    api.add("first")
    assert get_contents(fetch(admin_client))["types"].figures[0].value == 1
    api.add("second")
    assert get_contents(fetch(admin_client))["types"].figures[0].value == 1
    clear_all_caches()
    assert get_contents(fetch(admin_client))["types"].figures[0].value == 2


# Permissions


def test_a_card_needs_its_permission(client, django_user_model, store):
    context = fetch(create_staff_user(client, django_user_model, "view_sessionmemory"))
    assert [shown.card.name for shown in context["cards"]] == ["sessions"]
    assert context["notices"] == []


def test_without_any_permission_the_page_says_what_to_do(client, django_user_model):
    page = create_staff_user(client, django_user_model).get(reverse("admin:index")).content.decode()
    assert "your account may view none" in page


# Attention


def test_nothing_needs_attention(admin_client):
    keep_report(HealthReport([HEALTHY], checked_at=FOR_EVER))
    response = admin_client.get(reverse("admin:index"))
    assert response.context["notices"] == []
    assert "Nothing needs attention." in response.content.decode()


def test_what_needs_attention_is_named_with_an_action(admin_client, store, namespace):
    PerformanceMetric.objects.create(
        namespace=namespace, component="crew", metric_type="adapter_health", metrics={"health_status": "unhealthy"}
    )
    context = fetch(admin_client)
    texts = " ".join(get_notices(context))
    for part in (
        "Broker: No answer.",
        "refuses 1 memory",
        "ingestion of failed failed",
        "1 workflow run failed",
        "adapter crew is failing",
        "A job failed",
    ):
        assert part in texts
    for notice in context["notices"]:
        assert notice.action
        assert query_context(admin_client, notice.url)


def test_a_repository_that_was_read_since_needs_nothing(admin_client, namespace):
    run = {"namespace": namespace, "repo_id": "shop", "path": "/"}
    Ingestion.objects.create(**run, status="failed")
    Ingestion.objects.create(**run, status="completed")
    assert "ingestion" not in " ".join(get_notices(fetch(admin_client)))


def test_near_duplicates_and_secrets_need_attention(admin_client, namespace):
    ours = {"namespace": namespace, "source_system": "test"}
    kept, copy, secret = (Memory.objects.create(content=text, **ours) for text in ("Berth 7.", "berth 7", "sk-1"))
    Duplicate.objects.create(namespace=namespace, memory=copy, winner_id=kept.pk, similarity=0.9)
    seen = {"namespace": namespace, "memory": secret, "memory_updated_at": secret.updated_at, "characters": 4}
    Inspection.objects.create(**seen, secrets=["api key"])
    page = admin_client.get(reverse("admin:index")).content.decode()
    assert "1 memory says what another one says as well." in page and "/admin/cleanup/duplicate/" in page
    assert "1 memory looks like a secret" in page and "finding=secret" in page


def test_an_overdue_schedule_needs_attention(admin_client, db):
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="hours")
    PeriodicTask.objects.create(name="late", task="t", interval=every, last_run_at=timezone.now() - timedelta(days=1))
    PeriodicTask.objects.update(date_changed=timezone.now() - timedelta(days=2))
    assert any("“late” is overdue" in text for text in get_notices(fetch(admin_client)))


def test_much_that_expired_needs_attention(admin_client, api, namespace):
    rows = [{"content": f"row {number}"} for number in range(1000)]
    assert api.post("/memories/bulk", {"memories": rows}).status_code == 201
    with connection.cursor() as cursor:
        cursor.execute("UPDATE memories_memory SET expires_at = now()")
    assert any("have expired" in text for text in get_notices(fetch(admin_client)))


def test_many_notices_of_one_source_are_summed_up(admin_client, namespace):
    for number in range(8):
        Ingestion.objects.create(namespace=namespace, repo_id=f"r{number}", path="/", status="failed")
    texts = get_notices(fetch(admin_client))
    assert sum("failed." in text for text in texts) == 5
    assert "3 more of ingestions." in texts


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("No answer\n  within 30 s", "No answer within 30 s"),
        ("Traceback (most recent call last):\n" + "  File …\n" * 20 + "ValueError: bad", "ValueError: bad"),
        (" \n", "failed"),
    ],
)
def test_an_error_is_one_line(error, line):
    assert summarize_error(error) == line
