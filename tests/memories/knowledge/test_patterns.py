"""Patterns stored by clients."""

from functools import partial
from uuid import uuid4

import pytest

from memories.knowledge.models import Pattern
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
SUITE_PATTERN = {"pattern_type": "workflow", "key": "suite first", "user_id": "ada"}


def add_pattern(api, status: int = 201, **fields: object) -> dict:
    response = api.post("/patterns", SUITE_PATTERN | fields)
    assert response.status_code == status, response.content
    pattern = response.json()
    assert pattern.pop("created") is (status == 201)
    return pattern


def list_patterns(api, query: str = "") -> list[dict]:
    response = api.get(f"/patterns{query}")
    assert response.status_code == 200, response.content
    return response.json()["results"]


def test_a_pattern_is_stored_as_given(api, takes):
    with takes(1):
        pattern = add_pattern(
            api, description="Runs it.", frequency=3, confidence=0.5, examples=["a"], metadata={"b": 1}
        )
    said = {"description": "Runs it.", "frequency": 3, "confidence": 0.5, "examples": ["a"], "metadata": {"b": 1}}
    assert {name: pattern[name] for name in (*SUITE_PATTERN, *said)} == SUITE_PATTERN | said
    assert api.get(f"/patterns/{pattern['id']}").json() == pattern
    assert list_patterns(api) == [pattern]


def test_a_pattern_defaults_to_one_occurrence_without_user(api):
    pattern = add_pattern(api, user_id=None)
    assert (pattern["user_id"], pattern["frequency"], pattern["confidence"]) == (None, 1, 1)
    assert add_pattern(api, 200, user_id=None)["frequency"] == 2


def test_a_repeated_pattern_adds_up_and_loses_nothing(api, takes):
    first = add_pattern(
        api, description="Runs it.", frequency=3, confidence=0.5, examples=["a", "b"], metadata={"a": 1, "b": 1}
    )
    with takes(1):
        again = add_pattern(api, 200, frequency=2, examples=["c", "b"], metadata={"b": 2})
    changed = {"frequency": 5, "examples": ["c", "b", "a"], "metadata": {"a": 1, "b": 2}}
    assert again == first | changed | {"updated_at": again["updated_at"]}
    assert again["updated_at"] > first["updated_at"]


@pytest.mark.parametrize(("said", "then"), [(0.2, 0.5), (0.9, 0.9), (None, 0.5)])
def test_the_greater_given_confidence_stays(api, said, then):
    add_pattern(api, confidence=0.5)
    assert add_pattern(api, 200, **({} if said is None else {"confidence": said}))["confidence"] == then


def test_the_newest_ten_examples_stay(api):
    for number in range(12):
        pattern = add_pattern(api, 200 if number else 201, examples=[f"example {number}"])
    assert pattern["examples"] == [f"example {number}" for number in range(11, 1, -1)]


def test_the_same_key_of_another_user_is_another_pattern(api, outsider):
    ids = {add_pattern(api, user_id=user)["id"] for user in ("ada", "ben", None)} | {add_pattern(outsider)["id"]}
    assert len(ids) == 4
    assert {each["frequency"] for each in list_patterns(api)} == {1}


def test_twenty_simultaneous_writers_add_up_exactly(transactional_db, api):
    calls = [
        partial(api.post, "/patterns", SUITE_PATTERN | {"frequency": number + 1, "examples": [f"{number}"]})
        for number in range(20)
    ]
    answers = run_at_once(calls)
    assert sorted(each.status_code for each in answers) == [200] * 19 + [201]
    pattern = Pattern.objects.get()
    assert (pattern.frequency, len(set(pattern.examples))) == (210, 10)


def test_patterns_are_filtered_by_type_user_and_confidence(api):
    add_pattern(api, key="one", confidence=0.5)
    add_pattern(api, key="two", confidence=0.9, pattern_type="preference")
    add_pattern(api, key="three", user_id="ben", pattern_type="decision_pattern")
    for query, expected in {
        "": ["three", "two", "one"],
        "?pattern_type=preference": ["two"],
        "?user_id=ada": ["two", "one"],
        "?min_confidence=0.9": ["three", "two"],
        "?min_confidence=0.9&user_id=ada&pattern_type=preference": ["two"],
        "?limit=1": ["three"],
    }.items():
        assert [each["key"] for each in list_patterns(api, query)] == expected
    assert is_problem(api.get("/patterns?min_confidence=2"), 422)


def test_patching_changes_only_the_given_fields(api):
    pattern = add_pattern(api, examples=["a"], metadata={"a": 1})
    changes = (
        {"frequency": 9},
        {"examples": []},
        {"metadata": {}},
        {"description": "x"},
        {"pattern_type": "preference"},
        {},
    )
    for change in changes:
        patched = api.patch(f"/patterns/{pattern['id']}", change).json()
        pattern |= change | {"updated_at": patched["updated_at"]}
        assert patched == pattern


@pytest.mark.parametrize(
    "change", [{"key": "x"}, {"user_id": "ben"}, {"frequency": 0}, {"frequency": None}, {"examples": None}]
)
def test_user_and_key_cannot_be_patched(api, change):
    pattern = add_pattern(api)["id"]
    before = fingerprint_tables()
    assert is_problem(api.patch(f"/patterns/{pattern}", change), 422)
    assert fingerprint_tables() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pattern_type", "habit"),
        ("key", ""),
        ("key", "x" * 256),
        ("frequency", 0),
        ("frequency", 1_000_001),
        ("confidence", 1.1),
        ("examples", ["x" * 501]),
        ("examples", [""]),
        ("examples", [str(number) for number in range(11)]),
        ("metadata", []),
    ],
)
def test_invalid_patterns_are_refused(api, field, value):
    response = api.post("/patterns", SUITE_PATTERN | {field: value})
    assert is_problem(response, 422)
    assert {each.partition(".")[0] for each in list_blamed_fields(response)} == {field}


def test_a_deleted_pattern_is_not_found(api, outsider):
    pattern = add_pattern(api)["id"]
    for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
        assert is_problem(outsider.call(method, f"/patterns/{pattern}", body), 404)
    assert api.delete(f"/patterns/{pattern}").status_code == 204
    assert is_problem(api.delete(f"/patterns/{pattern}"), 404)
    assert is_problem(api.get(f"/patterns/{uuid4()}"), 404)
