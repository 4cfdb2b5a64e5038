"""Without Citus: what `distribute` and the health checks say, and a node's failure as an answer."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from memory_site.core.db.cluster import is_distributed
from memory_site.operations.distribution.distribute import ForeignKey
from memory_site.operations.health.database import check_nodes
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.management.commands import distribute
from sessions_app.commands import EXIT_CHECK_FAILED
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
#: A trigger raises what Citus does when a node is away, and what only looks like it.
RAISE_SQL = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{}' USING ERRCODE = 'XX000'; END $$;
CREATE TRIGGER fail BEFORE INSERT ON sessions_app_sessionlink EXECUTE FUNCTION fail();
"""
LINK = {"source_session_id": "one", "target_session_id": "two", "link_type": "related"}


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_without_citus_distribute_says_so_and_changes_nothing(arguments):
    with pytest.raises(CommandError, match="This database has no Citus") as caught:
        call_command("distribute", *arguments)
    assert caught.value.returncode == EXIT_CHECK_FAILED
    assert not is_distributed()


@pytest.mark.parametrize("argument", ["--check", "--dry-run"])
def test_a_plan_distributes_nothing(argument, monkeypatch):
    done = []
    monkeypatch.setattr(distribute, "find_cluster_obstacles", list)
    monkeypatch.setattr(distribute.Command, "report_plan", lambda self: done.append("plan"))
    monkeypatch.setattr(distribute.Command, "distribute", lambda self: done.append("distribute"))
    call_command("distribute", argument)
    assert done == ["plan"]


def test_without_citus_health_knows_one_server():
    assert check_nodes() == (HealthStatus.HEALTHY, "One server.")


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("failure on connection marked as essential: 10.0.0.7:5432", 503),
        ("connection to the remote node memory@10.0.0.7:5432 failed", 503),
        ("something else of ours", 500),
    ],
)
def test_a_node_that_is_away_is_a_503(api, message, status):
    with connection.cursor() as cursor:
        cursor.execute(RAISE_SQL.format(message))
    response = api.post("/session-links", LINK)
    assert is_problem(response, status)
    assert response.headers.get("Retry-After") == ("5" if status == 503 else None)
    assert "10.0.0.7" not in response.content.decode()


def test_a_foreign_key_names_what_it_sets_to_null():
    definition = "FOREIGN KEY (namespace_id, memory_id) REFERENCES memories_memory(namespace_id, id) ON DELETE {}"
    key = ForeignKey("sessions_app_message", "name", definition.format("SET NULL (memory_id)"))
    assert (key.sets_null, key.target, key.column) == (True, "memories_memory", "memory_id")
    assert not ForeignKey("sessions_app_message", "name", definition.format("CASCADE")).sets_null
