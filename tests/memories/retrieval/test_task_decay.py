"""Deleting old memories, and lowering the relevance of those of a finished task."""

from datetime import UTC, datetime, timedelta

import pytest

from memories.models import Memory
from tests.wire import fingerprint_tables, is_problem

pytestmark = pytest.mark.django_db


def format_time_ago(**time: float) -> str:
    return str(datetime.now(UTC) - timedelta(**time))


def forget_memories(api, hours: float, **fields: object) -> dict:
    response = api.post("/users/ada/forget", {"older_than_hours": hours, **fields})
    assert response.status_code == 200, response.content
    return response.json()


def finish_task(api, **task: str) -> int:
    response = api.post("/users/ada/finish-task", task)
    assert response.status_code == 200, response.content
    return response.json()["lowered"]


@pytest.fixture
def old(api) -> dict[str, str]:
    """Return the ids of memories about a hundred hours old, by their differences."""
    kinds = {
        "plain": {},
        "state": {"memory_type": "temporary_state"},
        "knowledge": {"memory_type": "business_fact"},
        "preserved": {"tags": ["x", "preserve"]},
        "important by tag": {"tags": ["important"]},
        "important": {"metadata": {"important": True}},
        "not important": {"metadata": {"important": False}},
        "young": {"created_at": format_time_ago(hours=99)},
        "of ben": {"user_id": "ben"},
        "of nobody": {"user_id": None},
    }
    usual = {"user_id": "ada", "created_at": format_time_ago(hours=101)}
    return {name: api.add(name, **(usual | fields))["id"] for name, fields in kinds.items()}


def load_contents() -> set[str]:
    return set(Memory.objects.values_list("content", flat=True))


def test_old_memories_are_deleted_and_others_stay(api, old):
    assert forget_memories(api, 100) == {"matched": 4, "deleted": 4}
    assert set(old) - load_contents() == {"plain", "state", "knowledge", "not important"}
    assert forget_memories(api, 100) == {"matched": 0, "deleted": 0}


def test_a_dry_run_only_counts(api, old):
    before = fingerprint_tables()
    assert forget_memories(api, 100, dry_run=True) == {"matched": 4, "deleted": 0}
    assert fingerprint_tables() == before


def test_only_the_given_types_are_deleted(api, old):
    assert forget_memories(api, 100, memory_types=["business_fact"]) == {"matched": 1, "deleted": 1}
    assert set(old) - load_contents() == {"knowledge"}
    assert forget_memories(api, 100, memory_types=["temporary_state", "insight"])["deleted"] == 1


def test_nothing_is_deleted_when_nothing_is_old(api, old):
    assert forget_memories(api, 1000) == {"matched": 0, "deleted": 0}


def test_age_is_measured_from_the_last_update(api):
    entity = {"system": "jira", "id": "A-1"}
    api.add("an issue", user_id="ada", entity=entity, created_at=format_time_ago(hours=101))
    api.add("an updated issue", user_id="ada", entity=entity)
    assert forget_memories(api, 100)["deleted"] == 0


@pytest.mark.parametrize("body", [{}, {"older_than_hours": -1}, {"older_than_hours": 1e9}, {"older_than_hours": "1"}])
def test_forgetting_requires_a_valid_age(api, old, body):
    assert is_problem(api.post("/users/ada/forget", body), 422)


def test_another_namespace_is_not_forgotten(outsider, old):
    before = fingerprint_tables()
    assert forget_memories(outsider, 0) == {"matched": 0, "deleted": 0}
    assert fingerprint_tables() == before


TASK_LABELS = {"session_id": "monday", "workflow_id": "w", "user_id": "ada"}


@pytest.fixture
def task(api) -> dict[str, str]:
    """Return the ids of memories of one task and of others, by their differences."""
    kinds = {
        "selection": {"memory_type": "user_selection"},
        "result": {"memory_type": "search_result", "base_relevance": 0.8},
        "state": {"memory_type": "temporary_state", "session_id": None},
        "fact": {"memory_type": "conversation_fact"},
        "other session": {"memory_type": "user_selection", "session_id": "tuesday", "workflow_id": None},
        "of ben": {"memory_type": "user_selection", "user_id": "ben"},
    }
    return {name: api.add(name, **(TASK_LABELS | fields))["id"] for name, fields in kinds.items()}


def load_lowered_relevances() -> dict[str, float]:
    found = dict(Memory.objects.values_list("content", "base_relevance"))
    return {name: value for name, value in found.items() if value != 1}


@pytest.mark.parametrize(
    ("body", "lowered"),
    [
        ({"session_id": "monday"}, {"selection": 0.5, "result": 0.4}),
        ({"workflow_id": "w"}, {"selection": 0.5, "result": 0.4, "state": 0.5}),
        ({"session_id": "monday", "workflow_id": "w"}, {"selection": 0.5, "result": 0.4}),
        ({"session_id": "sunday"}, {"result": 0.8}),
    ],
    ids=str,
)
def test_the_relevance_of_a_tasks_memories_is_halved(api, task, body, lowered):
    assert finish_task(api, **body) == len([value for value in lowered.values() if value != 0.8])
    assert load_lowered_relevances() == lowered


def test_finishing_changes_only_the_base_relevance(api, task):
    changed = {"base_relevance", "revision"}
    kept = [field.name for field in Memory._meta.fields if field.name not in changed]
    before = list(Memory.objects.order_by("pk").values(*kept))
    finish_task(api, workflow_id="w")
    assert list(Memory.objects.order_by("pk").values(*kept)) == before


def test_repeated_finishing_does_not_go_far_below_the_minimum(api, task):
    for _ in range(20):
        finish_task(api, workflow_id="w")
    assert all(0.02 < value <= 0.05 for value in load_lowered_relevances().values())
    assert finish_task(api, workflow_id="w") == 0


def test_a_retry_with_the_same_key_lowers_once(api, task):
    for _ in range(3):
        api.post("/users/ada/finish-task", {"session_id": "monday"}, **{"Idempotency-Key": "one"})
    assert load_lowered_relevances() == {"selection": 0.5, "result": 0.4}


@pytest.mark.parametrize("body", [{}, {"session_id": ""}, {"session_id": None}, {"session_id": "a", "x": 1}])
def test_a_task_requires_a_session_or_a_workflow(api, body):
    assert is_problem(api.post("/users/ada/finish-task", body), 422)


def test_forgetting_and_finishing_take_one_statement_each_and_say_who_acts(api, task, old, takes):
    with takes(2):  # who acts, UPDATE
        finish_task(api, workflow_id="w")
    with takes(2):  # who acts, UPDATE
        forget_memories(api, 100)


def test_another_namespace_is_not_lowered(outsider, task):
    before = fingerprint_tables()
    assert finish_task(outsider, workflow_id="w") == 0
    assert fingerprint_tables() == before
