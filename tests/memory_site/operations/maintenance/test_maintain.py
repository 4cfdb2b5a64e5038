"""What `maintain` does by itself, what it names, and the command that mends it."""

import json

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection
from django.urls import reverse

from memory_site.core.leases.leases import hold_lease
from memory_site.operations import tasks
from memory_site.operations.maintenance import bloat, indexes, run, tables
from memory_site.operations.maintenance.findings import execute, fetch
from memory_site.operations.maintenance.run import LEASE, VECTORS_LEASE, State, plan_steps
from memory_site.operations.metrics.maintenance import read_maintenance
from memory_site.operations.models import MaintenanceReport
from tests.console import fetch_page_text
from tests.memories.test_search import add_vectors

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def crates():
    """A table of 4,000 rows that PostgreSQL does not vacuum by itself."""
    execute(
        "CREATE TABLE crates WITH (autovacuum_enabled = off) AS"
        " SELECT n AS number, md5(n::text) AS label, now() AS at FROM generate_series(1, 4000) n",
        "SELECT pg_stat_force_next_flush()",
    )
    yield
    execute("DROP TABLE crates")


def list_due(name: str) -> list[str]:
    fetch("SELECT pg_stat_force_next_flush()")
    return [step.kind for step in plan_steps() if step.object == name]


def list_found(name: str) -> dict[str, str]:
    """Return kind and command of each finding about an object."""
    return {finding.kind: finding.command for finding in State().find_faults() if finding.object == name}


def maintain(*options: str) -> int:
    """Return the exit code."""
    try:
        call_command("maintain", *options)
    except CommandError as error:
        return error.returncode
    return 0


# Tables


def test_a_new_table_is_analyzed_and_one_with_dead_rows_vacuumed(crates):
    assert list_due("crates") == ["analyze"]
    execute("ANALYZE crates")
    assert list_due("crates") == []
    execute("DELETE FROM crates WHERE number <= 999")
    assert list_due("crates") == []
    execute("DELETE FROM crates WHERE number = 1000")
    assert list_due("crates") == ["vacuum"]
    assert maintain() == 3  # its autovacuum is off, which only an administrator should change
    assert list_due("crates") == []
    assert list_found("crates") == {
        "autovacuum off": 'python manage.py dbshell -- -c "ALTER TABLE crates RESET (autovacuum_enabled)"'
    }


def test_dead_vectors_are_left_to_their_own_rule(crates, monkeypatch):
    """A vacuum repairs the index of the vectors, which costs more than to build it."""
    monkeypatch.setattr(tables, "MIN_DEAD_ROWS", 0)
    monkeypatch.setattr(tables, "MIN_DEAD_SHARE", 0)
    assert "vacuum" in list_due("crates")
    assert "vacuum" not in list_due("memories_embedding")


def test_old_rows_are_frozen_and_the_index_of_the_vectors_is_not_touched(monkeypatch):
    monkeypatch.setattr(tables, "read_limits", lambda: tables.Limits(-1, -1, has_autovacuum=True))
    steps = {step.object: step for step in plan_steps() if step.kind == "freeze"}
    assert "INDEX_CLEANUP OFF" in steps["memories_embedding"].run.args[0]
    assert steps["memories_memory"].run.args == ("VACUUM (FREEZE, ANALYZE) memories_memory",)


def test_a_partitioned_table_is_analyzed_when_a_partition_was():
    execute(
        "CREATE TABLE docks (n int) PARTITION BY HASH (n)",
        "CREATE TABLE docks_0 PARTITION OF docks FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        "INSERT INTO docks SELECT generate_series(1, 10)",
        "ANALYZE ONLY docks_0" if connection.pg_version >= 180000 else "ANALYZE docks_0",
    )
    try:
        assert list_due("docks") == ["analyze"]
        maintain()
        assert list_due("docks") == []
        execute("CREATE INDEX docks_number ON docks (n)", "CREATE INDEX docks_again ON docks (n)")
        drop = 'python manage.py dbshell -- -c "DROP INDEX docks_again"'  # not concurrently: that has partitions
        assert list_found("docks_again") == {"duplicate index": drop}
    finally:
        execute("DROP TABLE docks")


def test_a_table_of_another_role_is_named_and_left_alone(crates):
    execute("DELETE FROM crates WHERE number <= 2000")
    as_superuser("ALTER TABLE crates OWNER TO postgres", "GRANT SELECT ON crates TO memory")
    try:
        assert list_due("crates") == []
        assert list_found("crates")["not owned"] == "VACUUM (ANALYZE) crates, as owner"
        assert maintain("--reindex", "crates") == 2
    finally:
        as_superuser("ALTER TABLE crates OWNER TO memory")


def as_superuser(*statements: str) -> None:
    ours = connection.settings_dict
    secret = settings.HOME.secret("postgres")
    with psycopg.connect(host=ours["HOST"], dbname=ours["NAME"], user="postgres", password=secret) as superuser:
        for statement in statements:
            superuser.execute(statement)


# Indexes


def test_invalid_indexes_are_rebuilt_and_leftovers_dropped(crates):
    execute("CREATE INDEX crates_label ON crates (label)")
    with pytest.raises(IntegrityError):
        execute("CREATE UNIQUE INDEX CONCURRENTLY crates_label_ccnew ON crates ((1))")
    with pytest.raises(IntegrityError):
        execute("CREATE UNIQUE INDEX CONCURRENTLY crates_once ON crates ((number / 2))")
    assert {index.name for index in indexes.read_invalid()} == {"crates_label_ccnew", "crates_once"}
    execute("DELETE FROM crates WHERE number % 2 = 0")
    maintain()
    assert indexes.read_invalid() == []
    assert fetch("SELECT to_regclass('crates_label_ccnew')::text, to_regclass('crates_once')::text") == [
        (None, "crates_once")
    ]


def test_a_rebuild_that_fails_is_a_problem_and_the_rest_is_done(crates, capsys):
    with pytest.raises(IntegrityError):
        execute("CREATE UNIQUE INDEX CONCURRENTLY crates_once ON crates ((number / 2))")
    assert maintain("--format", "json") == 3
    report = json.loads(capsys.readouterr().out)
    assert {"rebuild invalid index failed", "autovacuum off"} <= {finding["kind"] for finding in report["findings"]}
    assert ("analyze", "crates") in {(step["kind"], step["object"]) for step in report["done"]}
    [part] = [part for part in report["parts"] if part["name"] == "invalid indexes"]
    assert part["points"] == 0


def test_the_index_of_the_vectors_is_left_to_the_process_that_rebuilds_it(api, capsys):
    add_vectors(api, 2)
    with pytest.raises(IntegrityError):
        execute("CREATE UNIQUE INDEX CONCURRENTLY embedding_nearest_ccnew ON memories_embedding ((1))")
    with hold_lease(VECTORS_LEASE):
        assert maintain("--format", "json") == 0
    kinds = {finding["kind"]: finding["message"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert kinds["drop leftover index left out"] == "Another process rebuilds the index of the vectors."
    assert maintain() == 0
    assert indexes.read_invalid() == []


def test_duplicates_are_named_but_none_that_holds_a_constraint(crates):
    execute(
        "ALTER TABLE crates ADD CONSTRAINT crates_key PRIMARY KEY (number)",
        "CREATE INDEX crates_again ON crates (number)",
        "CREATE INDEX crates_down ON crates (number DESC)",
        "CREATE INDEX crates_some ON crates (number) WHERE number > 7",
    )
    assert list_found("crates_again") == {
        "duplicate index": 'python manage.py dbshell -- -c "DROP INDEX CONCURRENTLY crates_again"'
    }
    assert not {"crates_key", "crates_down", "crates_some"} & {finding.object for finding in State().find_faults()}


def test_unused_indexes_are_named_when_statistics_are_old_enough(crates, monkeypatch):
    execute("CREATE UNIQUE INDEX crates_once ON crates (number)", "CREATE INDEX crates_label ON crates (label)")
    monkeypatch.setattr(indexes, "MIN_UNUSED_SIZE", 0)
    assert "unused indexes" in list_found("statistics")
    monkeypatch.setattr(indexes, "MIN_STATISTICS_AGE", indexes.MIN_STATISTICS_AGE * 0)
    assert "unused index" in list_found("crates_label")
    assert list_found("crates_once") == {}
    execute("SET enable_seqscan = off", "SELECT FROM crates WHERE label = 'x'", "RESET enable_seqscan")
    fetch("SELECT pg_stat_force_next_flush()")
    assert list_found("crates_label") == {}


def test_an_index_is_rebuilt_on_demand(crates, capsys):
    execute("CREATE INDEX crates_label ON crates (label)")
    [(before,)] = fetch("SELECT pg_relation_filenode('crates_label')")
    assert maintain("--reindex", "crates_label") == 0
    assert capsys.readouterr().out == "crates_label on crates is built again.\n"
    assert fetch("SELECT pg_relation_filenode('crates_label')") != [(before,)]
    assert maintain("--reindex", "no_such_index") == 2


# Bloat


def test_estimated_bloat_is_what_is_there(crates, monkeypatch):
    """Without an extension: pgstattuple said 65 % of such a table, and 67 % of its index."""
    monkeypatch.setattr(bloat, "MIN_SIZE", 1)
    execute("CREATE INDEX crates_number ON crates (number)", "VACUUM ANALYZE crates")

    def estimate() -> dict[str, float]:
        return {each.name: each.wasted_share for each in bloat.read_bloat()}

    fresh = estimate()
    assert fresh["crates"] < 0.2  # the padding between columns is not known
    assert fresh["crates_number"] < 0.2
    execute("DELETE FROM crates WHERE number % 3 > 0", "VACUUM ANALYZE crates")
    after = estimate()
    assert 0.6 < after["crates"] < 0.7
    assert 0.55 < after["crates_number"] < 0.7


# The run


def test_a_dry_run_changes_nothing_and_says_what_is_due(crates, capsys):
    maintain("--dry-run", "--format", "jsonl")
    state = json.loads(capsys.readouterr().out)
    assert "crates" in {step["object"] for step in state["due"]}
    assert list_due("crates") == ["analyze"]
    assert not MaintenanceReport.objects.exists()


@pytest.mark.parametrize("command", ["maintain", "tune_index"])
def test_a_citus_cluster_is_refused_with_what_to_use(command, monkeypatch):
    monkeypatch.setattr(run, "is_citus", lambda: True)
    with pytest.raises(CommandError, match="run vacuumdb and reindexdb on each node") as failure:
        call_command(command)
    assert failure.value.returncode == 1


def test_only_one_process_maintains_and_an_interrupted_run_is_forgotten(crates, capsys):
    with hold_lease(LEASE):
        assert maintain() == 1
        assert tasks.maintain_database() is None
    MaintenanceReport.objects.create(started_at="2026-01-01T00:00Z")
    assert tasks.maintain_database() > 80
    [report] = MaintenanceReport.objects.all()
    assert report == MaintenanceReport.objects.latest_finished()
    assert (report.progress, len(report.parts)) == (1.0, 10)
    assert MaintenanceReport.objects.latest_page_check() is None


def test_the_console_shows_score_parts_and_findings(crates, console):
    tasks.maintain_database()
    report = MaintenanceReport.objects.get()
    assert f"{report.score} of 100" in fetch_page_text(
        console, reverse("admin:operations_maintenancereport_changelist")
    )
    page = fetch_page_text(console, reverse("admin:operations_maintenancereport_change", args=[report.pk]))
    assert "planner statistics" in page
    assert "(&#x27;" not in page  # no tuple of Python
    assert "ALTER TABLE crates RESET (autovacuum_enabled)" in page


def test_metrics_show_the_last_run():
    assert {value.figure.name: value.value for value in read_maintenance()} == {"maintenance_last_timestamp_seconds": 0}
    tasks.maintain_database()
    report = MaintenanceReport.objects.get()
    figures = {value.figure.name: value.value for value in read_maintenance()}
    assert figures["database_health_score"] == report.score
    assert figures["maintenance_last_timestamp_seconds"] == report.finished_at.timestamp()
    assert "damaged_pages" not in figures  # not looked for


def test_it_runs_every_week(settings):
    entries = settings.CELERY_BEAT_SCHEDULE.values()
    [entry] = [each for each in entries if each["task"] == tasks.maintain_database.name]
    assert entry["schedule"].day_of_week == {0}
