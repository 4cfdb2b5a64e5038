"""Whether the settings of the server are in force, and what doctor says when they are not."""

import pytest
from django.db import connection

from memory_site.operations.health.database import WEB_ROLE_ADVICE
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.health.runner import run_check

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def check(monkeypatch):
    """Run the check; unlike health, leave the connection open."""
    monkeypatch.setattr("memory_site.operations.health.runner.connections.close_all", lambda: None)
    return lambda: run_check("parameters")


def test_all_are_in_force(check):
    assert (check().status, check().message, check().mend) == (HealthStatus.HEALTHY, "All 9 are in force.", "")


def test_each_that_is_not_in_force_is_named_with_the_command_that_stores_it(check):
    with connection.cursor() as cursor:
        cursor.execute("SET jit = on")
        cursor.execute("SET hnsw.ef_search = 40")
    component = check()
    connection.close()
    assert component.status is HealthStatus.DEGRADED
    assert component.message == "hnsw.ef_search is 40 instead of 200, jit is on instead of off."
    assert component.mend == "python manage.py migrate"


def test_behind_a_pooler_the_web_server_needs_a_role_for_its_limits(check, settings):
    settings.DATABASE_POOLER = "transaction"
    component = check()
    assert (component.status, component.mend) == (HealthStatus.DEGRADED, WEB_ROLE_ADVICE)


def test_the_web_servers_own_settings_are_checked_with_its_role(check, settings):
    settings.DATABASE_POOLER = "transaction"
    settings.WEB_DATABASE = {**connection.settings_dict, "OPTIONS": {"options": "-c lock_timeout=7"}}
    component = check()
    assert component.status is HealthStatus.DEGRADED
    assert component.message.startswith("In the web server: ")
    assert "lock_timeout is 7 instead of 3000" in component.message
