"""The console's health page: every check, what mends it, and what the site runs on."""

import threading

import pytest
from django.urls import reverse
from django.utils import timezone

from memory_site.core.caches import clear_all_caches
from memory_site.operations.health import latest
from memory_site.operations.health.latest import HealthReport, get_latest_report, keep_report
from memory_site.operations.health.results import Component, HealthStatus
from memory_site.operations.models import Heartbeat, ScheduleOutcome
from memory_site.operations.selftest.scratch_site import wait_until
from tests.console import create_staff_user, fetch_page_text

pytestmark = pytest.mark.django_db
PAGE = "/admin/operations/heartbeat/health/"
FOR_EVER = float("inf")


@pytest.fixture(autouse=True)
def report() -> HealthReport:
    components = [
        Component("database", HealthStatus.HEALTHY, "Answers.", latency_ms=1.5),
        Component("broker", HealthStatus.DEGRADED, "No answer within 3 s.", "start the broker"),
    ]
    keep_report(report := HealthReport(components, {"PostgreSQL": "18.4"}, checked_at=FOR_EVER))
    return report


def test_it_shows_checks_processes_versions_and_failures(admin_client):
    Heartbeat.objects.create(name="worker one", kind="worker", seen_at=timezone.now())
    ScheduleOutcome.objects.create(name="make a backup", failed_at=timezone.now(), error="OSError")
    text = fetch_page_text(admin_client, PAGE)
    for part in (
        "No answer within 3 s.",
        "start the broker",
        "worker one",
        "alive",
        "18.4",
        "make a backup",
        "OSError",
    ):
        assert part in text


@pytest.mark.parametrize(("status", "names"), [("degraded", ["broker"]), ("healthy", ["database"]), ("x", None)])
def test_a_status_narrows_the_checks(admin_client, status, names):
    found = admin_client.get(PAGE, {"status": status}).context["components"]
    assert [component.name for component, *_ in found] == (names or ["broker", "database"])


def test_it_needs_the_permission(client, django_user_model):
    assert create_staff_user(client, django_user_model, "view_memory").get(PAGE).status_code == 403


def test_the_checks_run_again_on_request(admin_client, report):
    response = admin_client.get(PAGE, {"again": "1"})
    assert response.headers["Location"] == reverse("admin:operations_health_changelist")
    wait_until(lambda: get_latest_report() is not report, 60, "the checks have run")
    checked = get_latest_report()
    assert {"database", "disk", "schedules"} <= {each.name for each in checked.components}
    assert checked.facts["PostgreSQL"]


def test_a_page_does_not_wait_for_checks_that_hang(admin_client, monkeypatch):
    """As when the host of the broker is silent: the first page of a process waits a moment, later ones not at all."""
    release = threading.Event()
    monkeypatch.setattr(latest, "check_components", lambda: release.wait(60) and [])
    monkeypatch.setattr(latest, "FIRST_WAIT_SECONDS", 0.05)
    clear_all_caches()
    assert "The checks are running." in fetch_page_text(admin_client, PAGE)
    release.set()
    latest._checking.join(60)  # its report must not come in the middle of a later test
