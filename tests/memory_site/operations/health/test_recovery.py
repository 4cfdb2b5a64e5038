"""An archive of the log that fails, has gaps, or was never proven; and what the last maintenance left."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from memory_site.operations.health import recovery
from memory_site.operations.health.maintenance import MAINTAIN, check_maintenance
from memory_site.operations.health.recovery import BASE, DRILL, STATUS, check_recovery
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.models import MaintenanceReport
from memory_site.operations.pitr.facts import Archiver, PitrFacts

NOW = timezone.now()
SOUND = Archiver(True, NOW, None, 0, None)
PASSED = {"ok": True, "at": (NOW - timedelta(days=3)).isoformat(), "message": ""}


def build_facts(**changes) -> PitrFacts:
    base = SimpleNamespace(written_at=NOW - timedelta(days=20))
    last = SimpleNamespace(written_at=NOW - timedelta(days=2))
    windows = [SimpleNamespace(since=NOW - timedelta(days=20), until=None)]
    facts = {"archiver": SOUND, "bases": [base, last], "windows": windows, "last_drill": PASSED}
    return PitrFacts(enabled=True, **facts | changes)


@pytest.mark.parametrize(
    ("changes", "words", "mend"),
    [
        ({"archiver": None}, "PostgreSQL does not answer.", STATUS),
        ({"archiver": Archiver(False, None, None, 0, None)}, "archives nothing", "python manage.py pitr enable"),
        ({"archiver": Archiver(True, None, NOW, 3, "0007")}, "0007 cannot be archived.", STATUS),
        ({"waiting_segments": 65}, "65 segments wait", STATUS),
        ({"lost_since_base": 2}, "2 segments of the log behind the last base backup are lost", BASE),
        ({"base_due": "the last one is 9 days old", "bases": []}, "the last one is 9 days old", BASE),
        ({"last_drill": PASSED | {"ok": False, "message": "memories differ"}}, "memories differ", DRILL),
        ({"last_drill": None}, "Recovery was not tried", DRILL),
        ({"windows": []}, "No time can be recovered.", BASE),
    ],
)
def test_each_fault_has_what_mends_it(monkeypatch, changes, words, mend):
    monkeypatch.setattr(recovery, "get_pitr_facts", lambda: build_facts(**changes))
    status, message, advice = check_recovery()
    assert (status, advice) == (HealthStatus.DEGRADED, mend)
    assert words in message


def test_a_whole_archive_is_healthy(monkeypatch):
    monkeypatch.setattr(recovery, "get_pitr_facts", build_facts)
    status, message = check_recovery()
    assert status is HealthStatus.HEALTHY
    assert message.startswith(f"Every moment since {NOW - timedelta(days=20):%Y-%m-%d}")


def test_without_an_archive_nothing_is_wrong():
    assert check_recovery() == (HealthStatus.HEALTHY, "Recovery to a moment is not switched on.")


@pytest.mark.django_db
def test_what_the_last_maintenance_found_is_told_with_its_command():
    assert check_maintenance()[0] is HealthStatus.HEALTHY
    report = MaintenanceReport.objects.create(started_at=NOW, finished_at=NOW, score=84)
    assert check_maintenance() == (HealthStatus.HEALTHY, f"The database has 84 of 100 points, on {NOW:%Y-%m-%d}.")
    report.score = 50
    report.save()
    assert check_maintenance() == (HealthStatus.DEGRADED, "The database has 50 of 100 points.", MAINTAIN)
    problem = {"severity": "problem", "kind": "index", "object": "i", "message": "i is broken.", "command": "mend i"}
    report.findings = [problem | {"severity": "note"}, problem, problem]
    report.save()
    status, message, mend = check_maintenance()
    assert (status, mend) == (HealthStatus.DEGRADED, "mend i")
    assert message.startswith("i is broken. (and 1 more)")
