"""Versions that lack security fixes."""

import pytest

from memory_site.operations.health import versions
from memory_site.operations.health.processes import Broker, parse_version
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.health.versions import check_versions, find_behind_broker, find_behind_postgresql

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("number", "behind"),
    [(180004, True), (180006, False), (190000, False), (170010, True), (150018, True), (150019, False)],
)
def test_postgresql_behind_its_floor_is_a_fault_where_it_can_be_upgraded(settings, number, behind):
    settings.EMBEDDED = False
    found = list(find_behind_postgresql(number))
    assert [each.status for each in found] == [HealthStatus.DEGRADED] * behind
    assert all("upgrade PostgreSQL to" in each.mend for each in found)


def test_the_bundled_postgresql_is_advised_about(settings):
    settings.EMBEDDED = True
    [found] = find_behind_postgresql(180004)
    assert found.status is HealthStatus.HEALTHY
    assert found.message == "PostgreSQL 18.4 of the wheel lacks the security fixes of 18.6."
    assert "DATABASE_URL" in found.mend


@pytest.mark.parametrize(
    ("name", "version", "floor"),
    [
        ("Valkey", "9.0.2", "9.0.3"),
        ("Valkey", "9.1.2", ""),
        ("Valkey", "8.1.5-rc1", "8.1.6"),
        ("Redis", "8.6.3", ""),
        ("Redis", "7.4.2", "8.6.3"),
        ("Redis", "7.0.15", ""),
        ("Redis", "6.2.14", "6.2.20"),
    ],
)
def test_a_broker_behind_is_advised_about(name, version, floor):
    found = list(find_behind_broker(Broker(name, parse_version(version))))
    assert [each.mend for each in found] == ([f"upgrade {name} to {floor} or later"] if floor else [])
    assert all(each.status is HealthStatus.HEALTHY for each in found)


def test_django_behind_is_a_fault(monkeypatch):
    monkeypatch.setattr(versions.django, "VERSION", (5, 2, 18, "final", 0))
    status, message, mend = check_versions()
    assert (status, mend) == (HealthStatus.DEGRADED, "pip install -r requirements.txt")
    assert message.startswith("Django ")


def test_this_site_lacks_what_the_wheel_lacks():
    assert check_versions()[0] is HealthStatus.HEALTHY
