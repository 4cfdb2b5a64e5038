"""Workflow executions: storing, memories, status changes, lists and reports."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from ingestion.models import Document, WorkflowExecution
from ingestion.workflows import MAX_REPORT_ROWS, fetch_report
from memories.add import add_many
from memories.models import Memory
from memories.schemas import MemoryIn
from sessions_app.models import Namespace
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
EXECUTIONS_PATH, LIST_URL = "/workflows/nightly/executions", "/admin/ingestion/workflowexecution/"
REPORT_URL = f"{LIST_URL}report/"
NINE, FIVE_LATER = "2026-01-01T09:00:00Z", "2026-01-01T09:05:00Z"
START_AND_END = {"started_at": NINE, "finished_at": FIVE_LATER}
FULL_EXECUTION = {
    **{"adapter": "langgraph", "status": "failed", "agent_id": "planner", "user_id": "ada", "repositories": ["site"]},
    **{"result": {"pages": 3, "ü": [None]}, "error": "The harbour was closed.", **START_AND_END},
}
MAX_METADATA = {"a": "x" * (256 * 1024 - len('{"a": ""}'))}
SCRIPT_TAG = "<script>alert(1)</script>"


def add_execution(api, workflow: str = "nightly", **fields: object) -> dict:
    response = api.post(f"/workflows/{workflow}/executions", {"adapter": "prefect", **fields})
    assert response.status_code == 201, response.content
    return response.json()


def patch_execution(api, execution: dict, **fields: object):
    return api.patch(f"/workflows/{execution['workflow_id']}/executions/{execution['id']}", fields)


def update_execution(api, execution: dict, **fields: object) -> dict:
    response = patch_execution(api, execution, **fields)
    assert response.status_code == 200, response.content
    return response.json()


def get_execution(api, execution: dict) -> dict:
    return api.get(f"/workflows/{execution['workflow_id']}/executions/{execution['id']}").json()


def get_memory(api, execution: dict) -> dict:
    return api.get(f"/memories/{execution['memory_id']}").json()


@pytest.fixture
def refusing():
    """Has a table refuse every row from now on."""

    def refuse(table: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT nothing_more CHECK (false) NOT VALID")

    return refuse


# Keeping


def test_an_execution_is_stored_with_all_given_fields(api, namespace):
    before = timezone.now()
    execution = add_execution(api, **FULL_EXECUTION)
    row = WorkflowExecution.objects.get()
    assert row.namespace == namespace
    assert before <= row.created_at <= timezone.now()
    assert datetime.fromisoformat(execution.pop("created_at")) == row.created_at
    assert execution == {
        **{"id": str(row.pk), "workflow_id": "nightly", "duration_seconds": 300.0, **FULL_EXECUTION},
        **{"memory_id": str(Memory.objects.get().pk)},
    }


def test_the_memory_of_an_execution_has_its_labels_and_result(api):
    execution = add_execution(api, **FULL_EXECUTION)
    memory = get_memory(api, execution)
    assert {name: memory[name] for name in ("memory_type", "source_system", "workflow_id", "repo_id", "data")} == {
        **{"memory_type": "workflow", "source_system": "langgraph", "workflow_id": "nightly", "repo_id": "site"},
        **{"data": FULL_EXECUTION["result"]},
    }
    assert (memory["agent_id"], memory["user_id"]) == ("planner", "ada")
    assert memory["metadata"] == {"execution_id": execution["id"], "status": "failed"}
    assert memory["content"] == (
        "Workflow nightly by langgraph, agent planner, on site, failed at 2026-01-01 09:05:00 UTC, after 300.0 s."
        f"\nError: The harbour was closed.\nExecution {execution['id']}."
    )
    assert [hit["memory"]["id"] for hit in api.search("nightly harbour", mode="text")["results"]] == [memory["id"]]


def test_an_execution_needs_only_an_adapter(api):
    execution = add_execution(api)
    assert execution["started_at"] == execution["finished_at"]
    assert (execution["status"], execution["duration_seconds"], execution["repositories"]) == ("completed", 0, [])
    assert execution["result"] is execution["error"] is execution["agent_id"] is execution["user_id"] is None
    memory = get_memory(api, execution)
    assert memory["data"] is memory["repo_id"] is None
    assert memory["content"].startswith("Workflow nightly by prefect, completed at 20")


def test_a_summary_precedes_the_generated_sentence_in_the_memory(api):
    execution = add_execution(api, summary="All pages were built anew.", **START_AND_END)
    content = get_memory(api, execution)["content"]
    assert content.startswith(
        "All pages were built anew.\n\nWorkflow nightly by prefect, completed at 2026-01-01 09:05:00"
    )


@pytest.mark.parametrize("summary", [{}, {"summary": "All is well."}])
def test_two_equal_executions_have_two_memories(api, summary):
    first, second = add_execution(api, **START_AND_END, **summary), add_execution(api, **START_AND_END, **summary)
    assert first["memory_id"] != second["memory_id"]
    assert Memory.objects.count() == WorkflowExecution.objects.count() == 2


def test_the_memory_of_several_repositories_has_none_and_repeats_are_dropped(api):
    execution = add_execution(api, repositories=["site", "docs", "site"])
    assert execution["repositories"] == ["site", "docs"]
    assert get_memory(api, execution)["repo_id"] is None
    assert "on site, docs" in get_memory(api, execution)["content"]


def test_without_remember_an_execution_has_no_memory(api):
    assert add_execution(api, remember=False)["memory_id"] is None
    assert (WorkflowExecution.objects.count(), Memory.objects.count()) == (1, 0)


def test_the_longest_values_are_stored_and_remembered(api):
    repositories = [f"{number:02}" + "ß" * 253 for number in range(64)]
    long = {"error": "e" * 10_000, "summary": "s" * 10_000, "result": {"a": "x" * 65_000}, "agent_id": "ß" * 255}
    execution = add_execution(api, adapter="ß" * 255, repositories=repositories, **long)
    assert get_execution(api, execution) == execution
    assert "s" * 10_000 in get_memory(api, execution)["content"]


def test_a_workflow_may_have_slashes_in_its_name(api):
    execution = add_execution(api, "deploy/nightly")
    assert get_execution(api, execution) == execution
    assert api.get("/workflows/deploy/nightly/executions").json()["results"] == [execution]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("adapter", value) for value in ("", " ", "x" * 256, None, 1)),
        *(("status", value) for value in ("done", "", None)),
        *((name, value) for name in ("agent_id", "user_id") for value in ("", "x" * 256)),
        *(("repositories", value) for value in ([""], ["x" * 256], ["x"] * 65, None, "site")),
        *(("result", value) for value in ([], "x", {"a": "x" * 70_000})),
        *(("error", value) for value in ("", " ", "x" * 10_001)),
        *(("started_at", value) for value in ("2190-01-01T00:00:00Z", "2020-01-01T00:00:00", 1)),
        *(("finished_at", value) for value in ("2190-01-01T00:00:00Z", 1)),
        *(("summary", value) for value in ("", "x" * 10_001)),
        *(("remember", value) for value in (None, "yes")),
        *(("duration_seconds", value) for value in (-1, "5", 1e12)),
        *((name, 1) for name in ("id", "memory_id", "workflow_id")),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_invalid_field_is_refused_by_name(api, field, value):
    before = fingerprint_tables()
    response = api.post(EXECUTIONS_PATH, {"adapter": "prefect", field: value})
    assert is_problem(response, 422)
    assert {name.split(".")[0] for name in list_blamed_fields(response)} == {field}
    assert fingerprint_tables() == before


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("duration_seconds", {"status": "running", "duration_seconds": 5}),
        ("duration_seconds", {**START_AND_END, "duration_seconds": 302}),
        ("duration_seconds", {"started_at": NINE, "duration_seconds": 90 * 365 * 24 * 3600}),
        ("duration_seconds", {"finished_at": NINE, "duration_seconds": 90 * 365 * 24 * 3600}),
        ("finished_at", {"started_at": FIVE_LATER, "finished_at": NINE}),
        ("finished_at", {"status": "running", "finished_at": FIVE_LATER}),
        ("finished_at", {"status": "pending", **START_AND_END}),
    ],
)
def test_inconsistent_fields_are_refused(api, field, said):
    before = fingerprint_tables()
    response = api.post(EXECUTIONS_PATH, {"adapter": "prefect", **said})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
    assert fingerprint_tables() == before


def test_a_failed_execution_needs_no_error(api):
    execution = add_execution(api, status="failed")
    assert (execution["status"], execution["error"]) == ("failed", None)
    assert get_memory(api, execution)["content"].startswith("Workflow nightly by prefect, failed at 20")


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        ({"started_at": NINE}, NINE, FIVE_LATER),
        ({"finished_at": FIVE_LATER}, NINE, FIVE_LATER),
        (START_AND_END, NINE, FIVE_LATER),
    ],
)
def test_the_duration_may_be_given(api, given, start, end):
    execution = add_execution(api, duration_seconds=300, **given)
    assert (execution["started_at"], execution["finished_at"], execution["duration_seconds"]) == (start, end, 300)


def test_with_only_a_duration_the_end_is_now(api):
    before = timezone.now()
    execution = add_execution(api, duration_seconds=300.25)
    assert before <= datetime.fromisoformat(execution["finished_at"]) <= timezone.now()
    assert execution["duration_seconds"] == pytest.approx(300.25, abs=1e-6)


def test_an_execution_can_be_stored_as_it_was_read(api):
    execution = add_execution(api, **FULL_EXECUTION)
    given = {name: execution[name] for name in (*FULL_EXECUTION, "duration_seconds")}
    again = add_execution(api, **given)
    assert {name: again[name] for name in given} == given


def test_the_memory_is_as_old_as_the_execution(api):
    assert get_memory(api, add_execution(api, **START_AND_END))["created_at"] == FIVE_LATER
    running = add_execution(api, status="running", started_at=NINE)
    assert get_memory(api, running)["created_at"] == NINE
    update_execution(api, running, status="completed", finished_at=FIVE_LATER)
    assert get_memory(api, running)["created_at"] == FIVE_LATER


def test_the_memory_of_a_clock_ahead_is_of_now(api):
    before = timezone.now()
    memory = get_memory(api, add_execution(api, started_at=(before + timedelta(minutes=5)).isoformat()))
    assert before <= datetime.fromisoformat(memory["created_at"]) <= timezone.now()


def test_a_clock_slightly_ahead_is_accepted(api):
    ahead = timezone.now() + timedelta(minutes=5)
    execution = add_execution(api, started_at=ahead.isoformat())
    assert datetime.fromisoformat(execution["finished_at"]) == datetime.fromisoformat(execution["started_at"]) == ahead


def test_with_only_an_end_the_start_is_not_later(api):
    assert add_execution(api, finished_at=NINE)["started_at"] == NINE


@pytest.mark.parametrize("table", ["memories_memory", "ingestion_workflowexecution"])
def test_an_execution_and_its_memory_are_stored_both_or_neither(api, refusing, table):
    refusing(table)
    before = fingerprint_tables()
    assert is_problem(api.post(EXECUTIONS_PATH, FULL_EXECUTION), 422)
    assert fingerprint_tables() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "done"},
        {"finished_at": None},
        {"status": "running"},
        {"finished_at": datetime(2025, 1, 1, tzinfo=UTC)},
        {"repositories": ["x"] * 65},
    ],
)
def test_the_database_refuses_inconsistent_rows(api, wrong):
    add_execution(api, **START_AND_END)
    with pytest.raises(IntegrityError), transaction.atomic():
        WorkflowExecution.objects.update(**wrong)


def test_the_execution_stays_when_its_memory_is_deleted(api):
    execution = add_execution(api)
    assert api.delete(f"/memories/{execution['memory_id']}").status_code == 204
    assert get_execution(api, execution) == execution | {"memory_id": None}
    assert update_execution(api, execution, result={"a": 1}) == execution | {"memory_id": None, "result": {"a": 1}}
    assert Memory.objects.count() == 0


def test_executions_are_deleted_with_their_namespace(api, namespace):
    add_execution(api)
    namespace.delete()
    assert (WorkflowExecution.objects.count(), Memory.objects.count()) == (0, 0)


def test_an_idempotency_key_replays_the_execution(api):
    answers = [api.post(EXECUTIONS_PATH, FULL_EXECUTION, **{"Idempotency-Key": "once"}) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert WorkflowExecution.objects.count() == 1


# Going on


def test_an_execution_goes_from_pending_to_completed_and_its_memory_follows(api):
    execution = add_execution(api, status="pending", started_at=NINE, summary="Nightly pages.")
    assert execution["finished_at"] is execution["duration_seconds"] is None
    assert "pending since 2026-01-01 09:00:00 UTC" in get_memory(api, execution)["content"]
    running = update_execution(api, execution, status="running")
    assert running == execution | {"status": "running"}
    assert "running since 2026-01-01 09:00:00 UTC" in get_memory(api, execution)["content"]
    ended = update_execution(api, execution, status="completed", finished_at=FIVE_LATER, result={"pages": 3})
    changed = {"finished_at": FIVE_LATER, "duration_seconds": 300.0, "result": {"pages": 3}}
    assert ended == execution | {"status": "completed"} | changed == get_execution(api, execution)
    memory = get_memory(api, execution)
    assert memory["content"] == (
        "Nightly pages.\n\nWorkflow nightly by prefect, completed at 2026-01-01 09:05:00 UTC, after 300.0 s."
        f" Execution {execution['id']}."
    )
    assert memory["data"] == {"pages": 3}
    assert memory["metadata"] == {"execution_id": execution["id"], "status": "completed"}
    assert memory["id"] == execution["memory_id"]


def test_a_missing_end_is_now(api):
    execution = add_execution(api, status="running")
    before = timezone.now()
    ended = update_execution(api, execution, status="failed", error="It fell over.")
    assert before <= datetime.fromisoformat(ended["finished_at"]) <= timezone.now()
    assert "Error: It fell over." in get_memory(api, execution)["content"]
    assert update_execution(api, execution, status="failed") == ended


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("running", "pending"),
        *(("completed", then) for then in ("pending", "running", "failed")),
        *(("failed", then) for then in ("pending", "running", "completed")),
    ],
)
def test_a_status_never_goes_back(api, now, then):
    execution = add_execution(api, status=now, error="why")
    before = fingerprint_tables()
    assert is_problem(patch_execution(api, execution, status=then), 409)
    assert fingerprint_tables() == before


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("duration_seconds", {"duration_seconds": 5}),
        ("duration_seconds", {"status": "completed", "duration_seconds": None}),
        ("duration_seconds", {"status": "completed", "finished_at": FIVE_LATER, "duration_seconds": 5}),
        ("finished_at", {"status": "completed", "finished_at": "2025-12-31T00:00:00Z"}),
        ("finished_at", {"finished_at": FIVE_LATER}),
        ("status", {"status": None}),
        ("status", {"status": "done"}),
        ("finished_at", {"finished_at": None}),
        ("started_at", {"started_at": NINE}),
    ],
)
def test_an_inconsistent_change_is_refused(api, field, changes):
    execution = add_execution(api, status="running", started_at=NINE)
    before = fingerprint_tables()
    response = patch_execution(api, execution, **changes)
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
    assert fingerprint_tables() == before


def test_an_error_may_be_removed_and_a_result_too(api):
    execution = add_execution(api, **FULL_EXECUTION)
    changes = {"error": None, "result": None}
    assert update_execution(api, execution, **changes) == execution | changes
    memory = get_memory(api, execution)
    assert memory["data"] is None and "Error" not in memory["content"]


def test_a_running_execution_may_fail_without_a_word(api):
    execution = add_execution(api, status="running", started_at=NINE)
    failed = update_execution(api, execution, status="failed", duration_seconds=2.5)
    assert (failed["status"], failed["error"], failed["duration_seconds"]) == ("failed", None, 2.5)
    assert failed["finished_at"] == "2026-01-01T09:00:02.500000Z"


def test_the_duration_of_a_finished_execution_may_be_corrected(api):
    execution = add_execution(api, **START_AND_END)
    assert update_execution(api, execution, duration_seconds=60)["finished_at"] == "2026-01-01T09:01:00Z"
    assert get_memory(api, execution)["created_at"] == "2026-01-01T09:01:00Z"


def test_omitted_fields_stay(api):
    execution = add_execution(api, **FULL_EXECUTION)
    assert update_execution(api, execution) == execution
    assert get_memory(api, execution)["data"] == FULL_EXECUTION["result"]


def test_later_edits_of_the_memory_stay(api):
    execution = add_execution(api, status="running")
    rewritten = {"content": "Ada looked after it.", "data": {"by": "hand"}, "metadata": {"seen": True}}
    api.patch(f"/memories/{execution['memory_id']}", rewritten)
    update_execution(api, execution, status="completed")
    memory = get_memory(api, execution)
    assert (memory["content"], memory["data"]) == (rewritten["content"], rewritten["data"])
    assert memory["metadata"] == {"seen": True, "execution_id": execution["id"], "status": "completed"}


def test_an_expired_memory_is_left_alone(api):
    execution = add_execution(api, status="running")
    Memory.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert update_execution(api, execution, status="completed")["status"] == "completed"
    assert Memory.objects.get().metadata["status"] == "running"


def test_if_the_memory_cannot_be_updated_nothing_changes(api):
    execution = add_execution(api, status="running")
    Memory.objects.update(metadata=MAX_METADATA)
    before = fingerprint_tables()
    assert is_problem(patch_execution(api, execution, status="completed"), 422)
    assert fingerprint_tables() == before


@pytest.mark.django_db(transaction=True)
def test_of_two_simultaneous_ends_one_wins(api):
    execution = add_execution(api, status="running")
    ends = [{"status": "completed"}, {"status": "failed", "error": "It fell over."}] * 3
    answers = run_at_once([partial(patch_execution, api, execution, **end) for end in ends])
    won = {answer.json()["status"] for answer in answers if answer.status_code == 200}
    assert {answer.status_code for answer in answers} == {200, 409}
    assert won == {get_execution(api, execution)["status"]} == {get_memory(api, execution)["metadata"]["status"]}


@pytest.mark.django_db(transaction=True)
def test_an_execution_may_end_while_its_memory_is_deleted(api):
    for _ in range(5):
        execution = add_execution(api, status="running")
        calls = [partial(patch_execution, api, execution, status="completed")]
        calls += [partial(api.delete, f"/memories/{execution['memory_id']}")]
        assert [answer.status_code for answer in run_at_once(calls)] == [200, 204]
        assert (get_execution(api, execution)["status"], get_execution(api, execution)["memory_id"]) == (
            "completed",
            None,
        )


# Reading


def test_executions_are_listed_newest_first_page_by_page_and_by_status(api):
    made = [
        add_execution(api, status=status, error="why") for status in ("completed", "failed", "running", "completed")
    ]
    add_execution(api, "weekly")
    assert api.get(EXECUTIONS_PATH).json()["results"] == made[::-1]
    assert api.get(f"{EXECUTIONS_PATH}?status=completed").json()["results"] == [made[3], made[0]]
    assert api.get(f"{EXECUTIONS_PATH}?status=pending").json()["results"] == []
    first = api.get(f"{EXECUTIONS_PATH}?limit=3").json()
    second = api.get(f"{EXECUTIONS_PATH}?limit=3&cursor={first['next']}").json()
    assert first["results"] + second["results"] == made[::-1]
    assert api.get("/workflows/never/executions").json()["results"] == []


def test_an_execution_is_found_only_under_its_own_workflow(api):
    execution = add_execution(api)
    assert is_problem(api.get(f"/workflows/weekly/executions/{execution['id']}"), 404)
    assert is_problem(patch_execution(api, execution | {"workflow_id": "weekly"}, result={}), 404)
    assert is_problem(api.get(f"{EXECUTIONS_PATH}/{uuid4()}"), 404)
    assert is_problem(api.get(f"{EXECUTIONS_PATH}/x"), 404, 422)


def test_another_namespace_sees_and_changes_nothing(api, outsider, reader):
    execution = add_execution(api, repositories=["site"])
    before = fingerprint_tables()
    assert outsider.get(EXECUTIONS_PATH).json()["results"] == outsider.get("/workflows/report").json()["results"] == []
    assert is_problem(outsider.get(f"{EXECUTIONS_PATH}/{execution['id']}"), 404)
    assert is_problem(patch_execution(outsider, execution, result={"a": 1}), 404)
    assert is_problem(patch_execution(reader, execution, result={"a": 1}), 403)
    assert is_problem(reader.post(EXECUTIONS_PATH, {"adapter": "prefect"}), 403)
    assert reader.get(EXECUTIONS_PATH).json()["results"] == [execution]
    assert fingerprint_tables() == before


def test_the_number_of_statements_is_bounded(api, takes):
    for _ in range(2):
        with takes(4):  # SAVEPOINT, memory, execution, RELEASE
            execution = add_execution(api, repositories=["a", "b"])
    with takes(3):  # SAVEPOINT, execution, RELEASE
        add_execution(api, remember=False)
    with takes(8):  # SAVEPOINT, memory, execution, who acts, both changed, RELEASE, what is there now
        update_execution(api, execution, result={"a": 1})
    for path in (EXECUTIONS_PATH, f"{EXECUTIONS_PATH}/{execution['id']}", "/workflows/report"):
        with takes(1):
            api.get(path)


# The report


def create_document(namespace: Namespace, repo_id: str, path: str, chunks: int) -> None:
    values = {"repo_id": repo_id, "path": path, "digest": path.encode(), "size": 1, "chunk_count": chunks}
    document = Document.objects.create(namespace=namespace, **values)
    contents = [MemoryIn(content=f"{number}", memory_type="rag") for number in range(chunks)]
    add_many(namespace.pk, contents, document_id=document.pk)


def test_the_report_joins_workflows_agents_and_repositories(api, namespace):
    elsewhere = Namespace.objects.create(name="elsewhere")
    for path, chunks in (("a", 3), ("b", 4)):
        create_document(namespace, "site", path, chunks)
    create_document(namespace, "other", "a", 100)
    create_document(elsewhere, "site", "a", 100)
    start = timezone.now().replace(microsecond=0) - timedelta(days=2)

    def at(hours: int, seconds: int) -> dict[str, str]:
        began = start + timedelta(hours=hours)
        return {"started_at": began.isoformat(), "finished_at": (began + timedelta(seconds=seconds)).isoformat()}

    agent = {"agent_id": "planner"}
    add_execution(api, **at(0, 10), **agent, repositories=["site", "docs"])
    add_execution(api, **at(1, 20), **agent, repositories=["site"], status="failed", error="why")
    add_execution(api, **at(2, 60), **agent, repositories=["site"], adapter="airflow")
    add_execution(api, status="running", started_at=(start + timedelta(hours=3)).isoformat())
    add_execution(api, "weekly", **at(4, 1))
    add_execution(api, "old", started_at=(start - timedelta(days=40)).isoformat(), repositories=["site"])
    names = ("workflow_id", "adapter", "agent_id", "repo_id", "executions", "completed", "failed", "average_seconds")
    rows = api.get("/workflows/report").json()["results"]
    assert [tuple(row[name] for name in (*names, "documents", "chunks")) for row in rows] == [
        ("weekly", "prefect", None, None, 1, 1, 0, 1, 0, 0),
        ("nightly", "prefect", None, None, 1, 0, 0, None, 0, 0),
        ("nightly", "airflow", "planner", "site", 1, 1, 0, 60, 2, 7),
        ("nightly", "prefect", "planner", "site", 2, 1, 1, 15, 2, 7),
        ("nightly", "prefect", "planner", "docs", 1, 1, 0, 10, 0, 0),
    ]
    assert datetime.fromisoformat(rows[3]["last_execution"]) == start + timedelta(hours=1)
    assert [row["workflow_id"] for row in api.get("/workflows/report?days=90").json()["results"]][-1] == "old"
    assert api.get("/workflows/report?days=1").json()["results"] == []


@pytest.mark.parametrize("days", ["0", "-1", "36501", "x", "1.5", ""])
def test_the_report_takes_a_number_of_days(api, days):
    assert is_problem(api.get(f"/workflows/report?days={days}"), 422)


def test_the_report_reaches_back_a_century_and_has_1000_rows_at_most(api, namespace):
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    times = {"started_at": moment, "finished_at": moment, "namespace": namespace, "adapter": "prefect"}
    rows = [WorkflowExecution(workflow_id=f"w{number:04}", **times) for number in range(MAX_REPORT_ROWS + 1)]
    WorkflowExecution.objects.bulk_create(rows)
    found = api.get("/workflows/report?days=36500").json()["results"]
    assert [row["workflow_id"] for row in found] == [row.workflow_id for row in rows[:MAX_REPORT_ROWS]]


# The command


def test_the_command_prints_the_report(capsys, api, namespace):
    add_execution(api, repositories=["site"], agent_id="planner")
    create_document(namespace, "site", "a", 3)
    call_command("workflow_report", "--namespace", "ours", "--format", "json")
    rows = json.loads(capsys.readouterr().out)
    assert rows == api.get("/workflows/report").json()["results"]
    call_command("workflow_report", "--namespace", "ours", "--format", "jsonl")
    assert json.loads(capsys.readouterr().out) == rows[0]
    call_command("workflow_report", "--namespace", "ours")
    table = capsys.readouterr().out
    assert all(word in table for word in ("workflow_id", "nightly", "planner", "site", "chunks"))


def test_the_command_takes_a_number_of_days(capsys, api):
    add_execution(api, started_at=(timezone.now() - timedelta(days=40)).isoformat())
    call_command("workflow_report", "--namespace", "ours", "--format", "json")
    assert json.loads(capsys.readouterr().out) == []
    call_command("workflow_report", "--namespace", "ours", "--format", "json", "--days", "41")
    assert [row["executions"] for row in json.loads(capsys.readouterr().out)] == [1]


@pytest.mark.parametrize(
    "words", [("--days", "0"), ("--days", "x"), ("--days", "9" * 5000), ("--days", "²"), ("--namespace", "nobody")]
)
def test_the_command_refuses_an_invalid_number_of_days(namespace, words):
    with pytest.raises(CommandError):
        call_command("workflow_report", *words)


# The console


@pytest.fixture
def console(client, django_user_model):
    client.force_login(django_user_model.objects.create(username="operator", is_staff=True, is_superuser=True))
    return client


def list_rows(console, **parameters: object) -> list[WorkflowExecution]:
    response = console.get(LIST_URL, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return list(response.context["cl"].result_list)


def test_executions_are_listed_newest_first_in_a_constant_number_of_statements(console, api, django_assert_num_queries):
    add_execution(api, **FULL_EXECUTION)
    add_execution(api, SCRIPT_TAG.replace("/", "-"), adapter=SCRIPT_TAG, repositories=[SCRIPT_TAG], agent_id=SCRIPT_TAG)
    text = console.get(LIST_URL).content.decode()
    assert all(words in text for words in ("nightly", "langgraph", "planner", "site", "failed", "5 min"))
    assert "<script>alert" not in text
    for number in range(60):
        add_execution(api, f"w{number}", remember=False)
    with django_assert_num_queries(5):  # session, user, saved filters, count, page
        rows = list_rows(console)
    assert [row.workflow_id for row in rows] == [f"w{number}" for number in range(59, 9, -1)]


def test_executions_are_filtered_by_namespace_and_status(console, api, outsider, namespace):
    ours, theirs = UUID(add_execution(api)["id"]), UUID(add_execution(outsider, status="failed", error="why")["id"])
    assert [row.pk for row in list_rows(console)] == [theirs, ours]
    assert [row.pk for row in list_rows(console, namespace=namespace.pk)] == [ours]
    assert [row.pk for row in list_rows(console, status="failed")] == [theirs]
    assert list_rows(console, namespace=namespace.pk, status="failed") == []
    assert console.get(LIST_URL, {"error__icontains": "a"}).status_code == 400


def test_a_page_shows_everything_and_changes_nothing(console, api):
    execution = add_execution(api, **FULL_EXECUTION | {"error": SCRIPT_TAG, "result": {"pages": SCRIPT_TAG}})
    page = f"{LIST_URL}{execution['id']}/change/"
    text = console.get(page).content.decode()
    assert f"/admin/memories/memory/{execution['memory_id']}/change/" in text
    assert all(words in text for words in ("nightly", "langgraph", "planner", "ada", "5 min", "json-view", "pages"))
    assert "<script>alert" not in text
    before = fingerprint_tables()
    assert console.post(page, {"workflow_id": "other"}).status_code == 403
    assert console.get(f"{LIST_URL}add/").status_code == 403
    assert fingerprint_tables() == before


def test_a_page_without_a_result_or_a_memory_says_so(console, api):
    execution = add_execution(api, status="running", remember=False)
    response = console.get(f"{LIST_URL}{execution['id']}/change/")
    assert response.status_code == 200
    assert "/admin/memories/memory/0" not in response.content.decode()


def test_the_report_sums_its_runs_once_and_links_to_them(console, api, namespace):
    for number in range(3):
        add_execution(api, "sync", repositories=["a", "b"], remember=False, status="completed" if number else "failed")
    add_execution(api, "slow", status="running", remember=False)
    context = console.get(REPORT_URL, {"namespace": namespace.pk}).context
    assert [(name, figure) for name, figure, _ in context["totals"]][:4] == [
        ("runs", "4"),
        ("completed", "2"),
        ("failed", "1"),
        ("success rate", "66.7 %"),
    ]
    for _, figure, url in context["totals"][:3]:
        assert len(console.get(url).context["cl"].result_list) == int(figure)
    [(_, cells)] = context["chart"].rows
    assert [cell.value for cell in cells] == [2, 1, 3]


@pytest.mark.parametrize(("order", "first"), [("", "slow"), ("runs", "sync"), ("failed", "sync"), ("x\0", "slow")])
def test_the_report_is_ordered(console, api, order, first):
    for status in ("completed", "failed"):
        add_execution(api, "sync", status=status, repositories=[], remember=False)
    add_execution(api, "slow", repositories=[], remember=False)
    assert first in console.get(REPORT_URL, {"o": order}).context["report"]["rows"][0][0]


def test_the_report_is_a_file_too(console, api):
    add_execution(api, "=1+1", repositories=[], remember=False)
    response = console.get(REPORT_URL, {"format": "csv"})
    header, row = response.content.decode().splitlines()
    assert header.startswith("namespace,workflow_id,adapter")
    assert row.startswith("ours,'=1+1,")


def test_deleting_a_record_leaves_the_memory(console, api):
    execution = add_execution(api)
    console.post(f"{LIST_URL}{execution['id']}/delete/", {"post": "yes"})
    assert (WorkflowExecution.objects.count(), Memory.objects.count()) == (0, 1)


def test_executions_need_the_permission_to_view_them(client, api, django_user_model):
    add_execution(api)
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    client.force_login(clerk)
    assert client.get(LIST_URL).status_code == 403
    clerk.user_permissions.set(Permission.objects.filter(codename="view_workflowexecution"))
    response = client.get(LIST_URL)
    assert response.status_code == 200
    assert "Workflow runs" in response.content.decode()


def test_the_report_of_one_namespace_is_one_statement(api, namespace, django_assert_num_queries):
    add_execution(api, repositories=["a", "b"])
    with django_assert_num_queries(1):
        assert len(fetch_report(namespace.pk, 30)) == 2


# The console's report


def list_report_rows(console, **parameters: object) -> list[list]:
    """The rows of the page's table."""
    response = console.get(REPORT_URL, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.context["report"]["rows"]


def strip_markup(cell: str) -> str:
    """Without markup."""
    return re.sub("<[^>]*>", "", cell)


def find_links(cells: list[str]) -> list[str]:
    return re.findall('href="([^"]*)"', "".join(cells).replace("&amp;", "&"))


def test_the_report_page_has_a_row_for_each_workflow_agent_and_repository(console, api, namespace):
    start = timezone.now() - timedelta(days=2)
    times = {"started_at": start.isoformat(), "finished_at": (start + timedelta(seconds=90)).isoformat()}
    add_execution(api, **times, agent_id="planner", repositories=["site", "docs"])
    add_execution(api, **times, agent_id="planner", repositories=["site"], status="failed", error="why")
    add_execution(api, status="running")
    rows = [[strip_markup(cell) for cell in row] for row in list_report_rows(console, namespace=namespace.pk)]
    assert rows == [
        ["nightly", "prefect", "-", "-", "1", "0", "-", "-", "0", "0", rows[0][-1]],
        ["nightly", "prefect", "planner", "docs", "1", "0", "100 %", "1 min 30 s", "0", "0", "2 d ago"],
        ["nightly", "prefect", "planner", "site", "2", "1", "50.0 %", "1 min 30 s", "0", "0", "2 d ago"],
    ]


def test_the_figures_link_to_exactly_the_runs_behind_them(console, api, outsider, namespace):
    for owner in Namespace.objects.all():
        create_document(owner, "site", "a", 3)
    old = (timezone.now() - timedelta(days=40)).isoformat()
    for agent_id in (None, "planner", "a&b=c"):
        for repositories in ([], ["site"], ["site", "docs"]):
            for caller, more in ((api, {}), (outsider, {}), (api, {"adapter": "airflow"}), (api, {"started_at": old})):
                add_execution(caller, remember=False, agent_id=agent_id, repositories=repositories, **more)
    add_execution(api, remember=False, agent_id="planner", repositories=["site"], status="failed", error="why")
    rows = list_report_rows(console, days=30)
    assert len(rows) == 27
    for row in rows:
        runs, *failed = find_links(row)
        page = console.get(runs).context["cl"]
        assert str(page.result_count) == strip_markup(row[4])
        assert page.has_active_filters
        assert [console.get(link).context["cl"].result_count for link in failed] == [int(strip_markup(row[5]))] * len(
            failed
        )
    assert sum(len(find_links(row)) for row in rows) == 28


def test_the_report_page_is_filtered_by_namespace_and_days(console, api, outsider, namespace):
    add_execution(api, "ours", started_at=(timezone.now() - timedelta(days=40)).isoformat())
    add_execution(outsider, "theirs")
    assert [(strip_markup(row[0]), strip_markup(row[-1])) for row in list_report_rows(console)] == [
        ("theirs", "theirs")
    ]
    assert [strip_markup(row[0]) for row in list_report_rows(console, days=90)] == ["theirs", "ours"]
    assert [strip_markup(row[0]) for row in list_report_rows(console, days=90, namespace=namespace.pk)] == ["ours"]
    empty = console.get(REPORT_URL, {"namespace": namespace.pk}).content.decode()
    assert "No workflow was run in this period in ours." in empty


@pytest.mark.parametrize("value", ["x", "9" * 40, "²", "1\0", "-1", "0", ""])
def test_invalid_parameters_mean_all_namespaces_and_30_days(console, api, value):
    add_execution(api)
    add_execution(api, started_at=(timezone.now() - timedelta(days=40)).isoformat(), adapter="airflow")
    assert len(list_report_rows(console, namespace=value, days=value)) == 1


def test_names_are_escaped_and_shortened(console, api):
    add_execution(api, SCRIPT_TAG.replace("/", "-"), adapter=SCRIPT_TAG, repositories=[SCRIPT_TAG], agent_id="x" * 255)
    text = console.get(REPORT_URL).content.decode()
    assert "<script>alert" not in text
    assert "x" * 59 + "…" in text


def test_the_report_page_takes_a_constant_number_of_statements(console, api, django_assert_num_queries):
    add_execution(api, remember=False)
    with django_assert_num_queries(5):  # session, user, report, names of namespaces, totals
        list_report_rows(console)
    for number in range(20):
        add_execution(api, f"w{number}", remember=False)
    with django_assert_num_queries(5):
        assert len(list_report_rows(console)) == 21


def test_a_truncated_report_says_so(console, namespace):
    times = {"started_at": timezone.now(), "finished_at": timezone.now(), "namespace": namespace, "adapter": "prefect"}
    rows = [WorkflowExecution(workflow_id=f"w{number:04}", **times) for number in range(MAX_REPORT_ROWS)]
    WorkflowExecution.objects.bulk_create(rows[1:])
    assert "rows with the latest runs are shown" not in console.get(REPORT_URL).content.decode()
    rows[0].save(force_insert=True)
    assert "Only the 1\u202f000 rows with the latest runs are shown" in console.get(REPORT_URL).content.decode()


def test_the_report_needs_the_permission_to_view_executions(client, api, django_user_model):
    add_execution(api)
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    client.force_login(clerk)
    assert client.get(REPORT_URL).status_code == 403
    assert REPORT_URL not in client.get("/admin/").content.decode()
    clerk.user_permissions.set(Permission.objects.filter(codename="view_workflowexecution"))
    assert client.get(REPORT_URL).status_code == 200
    assert REPORT_URL in client.get("/admin/").content.decode()
    assert client.get(LIST_URL).content.decode().count(REPORT_URL) == 2  # side bar and list
    client.logout()
    assert client.get(REPORT_URL).status_code == 302


@pytest.mark.parametrize("name", ["workflow_id", "adapter", "agent_id", "repo_id", "without", "days", "namespace"])
@pytest.mark.parametrize("value", ["a\0b", SCRIPT_TAG, "x" * 5000, "{", "²", "-1"])
def test_no_filter_breaks_the_list(console, api, name, value):
    add_execution(api)
    response = console.get(LIST_URL, {name: value})
    assert response.status_code == 200
    assert SCRIPT_TAG not in response.content.decode()
