"""/performance: measurements of adapters and workflows, and what follows from them."""

import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from ingestion.models import PerformanceMetric
from ingestion.performance import retention
from ingestion.tasks import delete_old_measurements
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)
EMPTY_PAGE = {"results": [], "next": None, "previous": None}


def ago(**parts: float) -> str:
    return (datetime.now(UTC) - timedelta(**parts)).isoformat()


def measure(api, component: str, metric_type: str = "adapter_health", when: str | None = None, **metrics) -> dict:
    """Post one measurement and return it as the list shows it."""
    body = {"component": component, "metric_type": metric_type, "metrics": metrics}
    response = api.post("/performance", body | ({"timestamp": when} if when else {}))
    assert response.status_code == 201, response.content
    [pk] = response.json()["ids"]
    return next(row for row in api.get("/performance?limit=100").json()["results"] if row["id"] == pk)


def run(api, workflow: str, seconds: float, status: str = "completed", adapter: str = "langgraph", **fields) -> dict:
    body = {"adapter": adapter, "status": status, "duration_seconds": seconds, "remember": False} | fields
    response = api.post(f"/workflows/{workflow}/executions", body)
    assert response.status_code == 201, response.content
    return response.json()


def fetch_results(api, path: str) -> list[dict]:
    response = api.get(path)
    assert response.status_code == 200, response.content
    return response.json()["results"]


# Storing


def test_health_of_an_adapter_has_the_stated_defaults(api):
    before = datetime.now(UTC)
    stored = measure(api, "agno", latency_ms=12)
    assert stored["metrics"] == {
        "health_status": "unknown",
        "latency_ms": 12.0,
        "memory_mb": None,
        "error_count": 0,
    }
    assert before <= datetime.fromisoformat(stored["timestamp"]) <= datetime.now(UTC)


def test_other_fields_and_other_types_are_stored_as_they_are(api):
    known = measure(api, "agno", latency_ms=1.5, queue={"length": 3})
    assert known["metrics"]["queue"] == {"length": 3}
    assert measure(api, "gpu 0", "temperature", celsius=71)["metrics"] == {"celsius": 71}


def test_several_are_stored_at_once_in_their_order(api):
    several = [{"component": f"c{number}", "metric_type": "load", "metrics": {"value": number}} for number in range(3)]
    response = api.post("/performance", {"measurements": several})
    ids = response.json()["ids"]
    stored = {str(row.pk): row.component for row in PerformanceMetric.objects.all()}
    assert (response.status_code, [stored[pk] for pk in ids]) == (201, ["c0", "c1", "c2"])


def test_all_are_stored_or_none(api):
    fine = {"component": "agno", "metric_type": "adapter_health", "metrics": {"latency_ms": 1}}
    response = api.post("/performance", {"measurements": [fine, fine | {"metrics": {"latency_ms": "fast"}}]})
    assert is_problem(response, 422)
    assert [error["field"] for error in response.json()["errors"]] == ["measurements.1.metrics.latency_ms"]
    assert PerformanceMetric.objects.count() == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metrics": {"latency_ms": -1}}, "metrics.latency_ms"),
        ({"metrics": {"memory_mb": True}}, "metrics.memory_mb"),
        ({"metrics": {"error_count": 1.5}}, "metrics.error_count"),
        ({"metrics": {"health_status": "fine"}}, "metrics.health_status"),
        ({"metric_type": "workflow_execution", "metrics": {"duration_seconds": -1}}, "metrics.duration_seconds"),
        ({"metric_type": "workflow_execution", "metrics": {"execution_id": "x"}}, "metrics.execution_id"),
        ({"metric_type": "workflow_execution", "metrics": {"status": "lost"}}, "metrics.status"),
        ({"metrics": [1]}, "metrics"),
        ({"metrics": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {}}}}}}}}}}, "metrics"),
        ({"metrics": {"text": "a\0b"}}, "metrics"),
        ({"component": " "}, "component"),
        ({"timestamp": "2026-01-01T00:00:00"}, "timestamp"),
        ({"timestamp": "2100-01-01T00:00:00Z"}, "timestamp"),
        ({"measurement": []}, "measurement"),
    ],
)
def test_bad_input_names_its_field(api, changes, field):
    body = {"component": "agno", "metric_type": "adapter_health", "metrics": {}} | changes
    response = api.post("/performance", body)
    assert is_problem(response, 422)
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert PerformanceMetric.objects.count() == 0


def test_more_than_a_thousand_at_once_are_refused(api):
    one = {"component": "agno", "metric_type": "load", "metrics": {}}
    assert is_problem(api.post("/performance", {"measurements": [one] * 1001}), 422)
    assert is_problem(api.post("/performance", {"measurements": []}), 422)


def test_repetition_with_a_key_stores_once(api):
    body = {"component": "agno", "metric_type": "load", "metrics": {"value": 1}}
    first, second = (api.post("/performance", body, **{"Idempotency-Key": "once"}) for _ in range(2))
    assert first.content == second.content
    assert PerformanceMetric.objects.count() == 1


# Listing


def test_list_is_filtered_and_newest_first(api):
    for component, metric_type, days in (("a", "load", 3), ("a", "load", 1), ("b", "load", 2), ("a", "other", 4)):
        measure(api, component, metric_type, ago(days=days))
    listed = {
        query: [(row["component"], row["metric_type"]) for row in fetch_results(api, f"/performance{query}")]
        for query in ("", "?component=a", "?metric_type=other", "?component=a&metric_type=load")
    }
    assert listed[""] == [("a", "load"), ("b", "load"), ("a", "load"), ("a", "other")]
    assert listed["?component=a"] == [("a", "load"), ("a", "load"), ("a", "other")]
    assert listed["?metric_type=other"] == [("a", "other")]
    assert listed["?component=a&metric_type=load"] == [("a", "load")] * 2


def test_list_has_a_period_whose_end_is_excluded(api):
    for day in (1, 2, 3):
        measure(api, f"c{day}", "load", f"2026-03-0{day}T00:00:00Z")
    period = "since=2026-03-01T00:00:00Z&until=2026-03-03T00:00:00Z"
    assert [row["component"] for row in fetch_results(api, f"/performance?{period}")] == ["c2", "c1"]
    response = api.get("/performance?since=2026-03-03T00:00:00Z&until=2026-03-01T00:00:00Z")
    assert is_problem(response, 422)
    assert response.json()["errors"][0]["field"] == "until"


def test_pages_hold_every_row_once_also_at_equal_times(api):
    same = {"component": "a", "metric_type": "load", "metrics": {}, "timestamp": "2026-03-01T00:00:00Z"}
    ids = api.post("/performance", {"measurements": [same] * 7}).json()["ids"]
    path, found = "/performance?limit=3", []
    while path:
        page = api.get(path).json()
        found += [row["id"] for row in page["results"]]
        path = page["next"] and f"/performance?limit=3&cursor={page['next']}"
    assert found == sorted(ids, reverse=True)


# Adapters


def test_an_adapter_is_shown_as_it_was_measured_last(api):
    measure(api, "agno", when=ago(hours=2), health_status="unhealthy", latency_ms=900, memory_mb=100, error_count=2)
    measure(api, "agno", when=ago(hours=1), health_status="healthy", latency_ms=100, memory_mb=300)
    measure(api, "prefect", when=ago(hours=1), health_status="degraded")
    agno, prefect = fetch_results(api, "/performance/adapters")
    assert (agno["adapter"], agno["health_status"], agno["latency_ms"], agno["memory_mb"]) == (
        *("agno", "healthy", 100.0),
        300.0,
    )
    assert (agno["measurements"], agno["average_latency_ms"], agno["average_memory_mb"]) == (2, 500.0, 200.0)
    assert (agno["errors"], agno["is_failing"]) == (2, True)
    assert (prefect["health_status"], prefect["latency_ms"], prefect["is_failing"]) == ("degraded", None, False)


def test_an_adapter_that_only_ran_workflows_is_unknown_and_fails_with_them(api):
    run(api, "nightly", 1)
    run(api, "nightly", 1, "failed")
    [adapter] = fetch_results(api, "/performance/adapters")
    assert (adapter["adapter"], adapter["health_status"], adapter["measurements"]) == ("langgraph", "unknown", 0)
    assert (adapter["runs"], adapter["failed"], adapter["success_rate"], adapter["is_failing"]) == (2, 1, 0.5, True)


def test_failing_adapters_are_listed_alone(api):
    measure(api, "agno", error_count=1)
    measure(api, "prefect")
    assert [row["adapter"] for row in fetch_results(api, "/performance/adapters?failing=true")] == ["agno"]
    assert [row["adapter"] for row in fetch_results(api, "/performance/adapters?failing=false")] == ["prefect"]


def test_what_is_older_than_the_period_does_not_count(api):
    measure(api, "agno", when=ago(days=8), error_count=1)
    run(api, "nightly", 1, "failed", finished_at=ago(days=8))
    assert fetch_results(api, "/performance/adapters") == []
    assert len(fetch_results(api, "/performance/adapters?days=9")) == 2
    assert fetch_results(api, "/performance/workflows") == []
    assert fetch_results(api, "/performance/anomalies") == []


def test_the_fastest_healthy_adapter_is_picked(api):
    assert api.get("/performance/adapters/pick").json() == {"adapter": None}
    measure(api, "slow", health_status="healthy", latency_ms=1000)
    measure(api, "ill", health_status="degraded", latency_ms=1)
    measure(api, "silent", health_status="healthy")
    measure(api, "erring", health_status="healthy", latency_ms=2, error_count=1)
    measure(api, "stale", when=ago(hours=2), health_status="healthy", latency_ms=3)
    measure(api, "recovered", when=ago(minutes=5), health_status="unhealthy", latency_ms=4)
    measure(api, "recovered", health_status="healthy", latency_ms=40)
    measure(api, "relapsed", when=ago(minutes=5), health_status="healthy", latency_ms=5)
    measure(api, "relapsed", health_status="unhealthy", latency_ms=5)
    picked = api.get("/performance/adapters/pick").json()["adapter"]
    assert (picked["adapter"], picked["latency_ms"]) == ("recovered", 40.0)
    longer = api.get("/performance/adapters/pick?max_age_minutes=180").json()["adapter"]
    assert longer["adapter"] == "stale"
    assert api.get("/performance/adapters/pick?max_latency_ms=40").json() == {"adapter": None}


# Workflows


def test_workflows_count_stored_executions_and_posted_measurements(api):
    run(api, "nightly", 2)
    run(api, "nightly", 4, "failed")
    measure(api, "workflow_nightly", "workflow_execution", duration_seconds=12, adapter="agno")
    api.post("/workflows/nightly/executions", {"adapter": "agno", "status": "running", "remember": False})
    [row] = fetch_results(api, "/performance/workflows")
    assert (row["workflow_id"], row["runs"], row["completed"], row["failed"]) == ("nightly", 4, 2, 1)
    assert (row["success_rate"], row["average_seconds"], row["longest_seconds"]) == (2 / 3, 6.0, 12.0)
    assert (row["slow_runs"], row["is_slow"]) == (1, True)


def test_a_measurement_of_a_stored_execution_is_no_second_run(api):
    execution = run(api, "nightly", 2)
    measure(
        api, "workflow_nightly", "workflow_execution", execution_id=execution["id"], duration_seconds=2, memory_mb=5
    )
    measure(api, "workflow_nightly", "workflow_execution", execution_id=str(uuid.uuid4()), duration_seconds=2)
    [row] = fetch_results(api, "/performance/workflows")
    assert row["runs"] == 2


def test_slow_means_more_than_five_seconds_on_average(api):
    run(api, "quick", 5)
    run(api, "slow", 5.5)
    assert [(row["workflow_id"], row["is_slow"]) for row in fetch_results(api, "/performance/workflows")] == [
        ("slow", True),
        ("quick", False),
    ]
    assert [row["workflow_id"] for row in fetch_results(api, "/performance/workflows?slow=true")] == ["slow"]
    slower = fetch_results(api, "/performance/workflows?slow=true&slow_seconds=6")
    assert slower == []


def test_a_workflow_without_an_end_has_no_rate(api):
    api.post("/workflows/nightly/executions", {"adapter": "agno", "status": "running", "remember": False})
    [row] = fetch_results(api, "/performance/workflows")
    assert (row["success_rate"], row["average_seconds"], row["is_slow"]) == (None, None, False)


# Trends


def test_trends_have_every_day_of_the_last_seven(api):
    ended, measured = ago(days=2), ago(days=1)
    run(api, "nightly", 2, finished_at=ended)
    run(api, "nightly", 4, "failed", finished_at=ended)
    measure(api, "agno", when=measured, latency_ms=10, memory_mb=100, error_count=3)
    before = datetime.now(UTC).date()
    days = {row["day"]: row for row in fetch_results(api, "/performance/trends")}
    today = date.fromisoformat(list(days)[-1])
    assert before <= today <= datetime.now(UTC).date()
    assert list(days) == [(today - timedelta(days=6 - n)).isoformat() for n in range(7)]
    of_runs, of_measurement, last = days[ended[:10]], days[measured[:10]], days[today.isoformat()]
    assert (of_runs["runs"], of_runs["success_rate"], of_runs["average_seconds"]) == (2, 0.5, 3.0)
    names = ("measurements", "average_latency_ms", "errors")
    assert [of_measurement[name] for name in names] == [1, 10.0, 3]
    assert (last["runs"], last["success_rate"], last["average_latency_ms"]) == (0, None, None)


def test_trends_of_one_workflow_or_adapter(api):
    run(api, "nightly", 2)
    run(api, "hourly", 2, adapter="agno")
    measure(api, "agno", latency_ms=10)
    measure(api, "prefect", latency_ms=30)

    def count(query: str) -> tuple:
        days = fetch_results(api, f"/performance/trends?days=2&{query}")  # midnight may come meanwhile
        return sum(each["runs"] for each in days), sum(each["measurements"] for each in days)

    assert count("") == (2, 2)
    assert count("workflow_id=nightly") == (1, 0)
    assert count("adapter=agno") == (1, 1)


# Anomalies


def find_anomalies(api) -> set[tuple[str, str, str, float]]:
    rows = fetch_results(api, "/performance/anomalies")
    return {(row["subject"], row["name"], row["kind"], row["value"]) for row in rows}


def test_a_run_of_more_than_three_times_the_average_is_an_anomaly(api):
    for seconds in (1, 1, 1, 1, 10):
        run(api, "nightly", seconds)
    for seconds in (1, 1, 1, 6):  # an average of 2.25: 6 is less than three times as much
        run(api, "hourly", seconds)
    [row] = fetch_results(api, "/performance/anomalies")
    assert (row["kind"], row["value"], row["average"], row["limit"]) == ("duration", 10.0, 2.8, pytest.approx(8.4))
    assert row["id"]


def test_latency_of_an_adapter_is_a_time_too(api):
    for milliseconds in (10, 10, 10, 10, 100):
        measure(api, "agno", latency_ms=milliseconds)
    assert find_anomalies(api) == {("adapter", "agno", "latency", 100.0)}


def test_more_than_twice_the_average_memory_is_an_anomaly(api):
    for megabytes in (10, 10, 10, 100):
        measure(api, "agno", memory_mb=megabytes)
        measure(api, "workflow_nightly", "workflow_execution", memory_mb=megabytes)
    assert find_anomalies(api) == {
        ("adapter", "agno", "memory", 100.0),
        ("workflow", "nightly", "memory", 100.0),
    }


def test_more_than_a_tenth_of_errors_is_an_anomaly_of_workflow_and_adapter(api):
    for number in range(9):
        run(api, "nightly", 1, "completed" if number else "failed")
    for number in range(10):  # exactly a tenth
        run(api, "hourly", 1, "completed" if number else "failed", adapter="agno")
    rows = fetch_results(api, "/performance/anomalies")
    assert {(row["subject"], row["name"], row["kind"], row["value"]) for row in rows} == {
        ("workflow", "nightly", "error_rate", 1 / 9),
        ("adapter", "langgraph", "error_rate", 1 / 9),
    }
    assert {(row["average"], row["limit"], row["id"]) for row in rows} == {(None, 0.1, None)}


@pytest.mark.parametrize("path", ["", "/adapters", "/workflows", "/trends?days=1", "/anomalies", "/adapters/pick"])
def test_figures_are_one_namespaces_and_one_statement(
    api, outsider, path, remembered_callers, django_assert_num_queries
):
    for number in range(5):
        run(api, "nightly", 10**number, "failed")
        measure(api, "agno", health_status="healthy", latency_ms=1, error_count=0)
    api.get("/performance")  # looks the key up
    outsider.get("/performance")
    with django_assert_num_queries(1):
        mine = api.get(f"/performance{path}")
    with django_assert_num_queries(1):
        theirs = outsider.get(f"/performance{path}").json()
    assert mine.status_code == 200
    assert "nightly" not in str(theirs)
    assert "agno" not in str(theirs)


TEXTS = '{"latency_ms": "fast", "error_count": [1], "execution_id": "x"}'
HUGE = '{"latency_ms": 1e300, "memory_mb": -1, "error_count": 1e300, "duration_seconds": 1e300}'


@pytest.mark.parametrize("metrics", [HUGE, TEXTS, "[]", '"x"'])
def test_rows_of_another_shape_spoil_no_figure(api, metrics):
    """As an import or another program may have written them."""
    for metric_type in ("adapter_health", "workflow_execution") * 2:
        stored = measure(api, "agno", metric_type)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE ingestion_performancemetric SET metrics = %s::jsonb WHERE id = %s", [metrics, stored["id"]]
            )
    for path in ("adapters", "workflows", "trends", "anomalies", "adapters/pick"):
        assert api.get(f"/performance/{path}").status_code == 200, path


# Retention


@pytest.fixture
def three_ages(api, outsider, settings):
    settings.PERFORMANCE_RETENTION_DAYS = 30
    for caller in (api, outsider):
        for days in (1, 29, 31):
            measure(caller, "agno", when=ago(days=days))


def list_ages() -> list[int]:
    return sorted(round((NOW - row.timestamp).total_seconds() / 86_400) for row in PerformanceMetric.objects.all())


def test_task_deletes_what_is_older_than_the_setting_in_batches(three_ages, monkeypatch):
    monkeypatch.setattr(retention, "DELETE_BATCH_SIZE", 1)
    assert delete_old_measurements() == 2
    assert list_ages() == [1, 1, 29, 29]
    assert delete_old_measurements() == 0


@pytest.mark.parametrize(
    ("words", "said", "left"),
    [
        ((), "2 measurements were deleted.", [1, 1, 29, 29]),
        (("--dry-run",), "2 measurements would be deleted.", [1, 1, 29, 29, 31, 31]),
        (("--namespace", "ours"), "1 measurements were deleted.", [1, 1, 29, 29, 31]),
        (("--older-than", "20d"), "4 measurements were deleted.", [1, 1]),
    ],
)
def test_command_deletes_old_measurements(three_ages, capsys, words, said, left):
    call_command("prune_performance", *words)
    assert capsys.readouterr().out.strip() == said
    assert list_ages() == left


@pytest.mark.parametrize("words", [("--older-than", "soon"), ("--namespace", "unknown")])
def test_command_refuses_what_it_does_not_know(three_ages, words):
    with pytest.raises(CommandError) as caught:
        call_command("prune_performance", *words)
    assert caught.value.returncode == 2
    assert len(list_ages()) == 6


# Console

LIST_URL = "/admin/ingestion/performancemetric/"


def test_console_lists_filters_and_shows(api, outsider, console):
    stored = measure(api, "agno", health_status="degraded", latency_ms=12.5)
    measure(outsider, "prefect", "load", value=1)
    page = console.get(LIST_URL)
    assert page.status_code == 200
    assert len(page.context["cl"].result_list) == 2
    one = console.get(LIST_URL, {"component": "agno", "metric_type": "adapter_health"})
    assert [row.component for row in one.context["cl"].result_list] == ["agno"]
    shown = console.get(f"{LIST_URL}{stored['id']}/change/").content.decode()
    assert "12.5" in shown
    assert "degraded" in shown
    assert console.get(f"{LIST_URL}add/").status_code == 403
