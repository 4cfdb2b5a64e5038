"""GET /memories/values lists what a part of the metadata holds."""

import json
from urllib.parse import urlencode

import pytest

from memories.api import values
from tests.wire import is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db


def list_values(api, *path: str, **parameters: object) -> dict:
    query = urlencode([*(("path", name) for name in path), *parameters.items()])
    response = api.get(f"/memories/values?{query}")
    assert response.status_code == 200, response.content
    return response.json()


@pytest.fixture
def some(api, outsider) -> None:
    for number, place in enumerate(({"0": "a"}, {"0": "a", "1": "b"}, {"0": "a"}, "x", 1, 1.0, None, [2])):
        api.add(f"text {number}", metadata={"store": {"place": place}, "kind": "item"}, user_id="ada")
    api.add("one without")
    outsider.add("theirs", metadata={"store": {"place": "secret"}})


def test_distinct_values_are_listed_with_their_counts(some, api):
    found = list_values(api, "store", "place")
    expected = [([2], 1), ({"0": "a"}, 2), ({"0": "a", "1": "b"}, 1), ("x", 1), (1, 2), (None, 1)]
    assert sorted(((row["value"], row["memories"]) for row in found["results"]), key=repr) == sorted(expected, key=repr)
    assert found["complete"] is True


def test_filters_are_those_of_a_list(some, api):
    metadata = json.dumps({"store": {"place": {"1": "b"}}})
    assert list_values(api, "kind", metadata=metadata)["results"] == [{"value": "item", "memories": 1}]
    assert list_values(api, "kind", user_id="ben") == {"results": [], "complete": True}


def test_without_a_path_whole_metadata_are_counted(some, api):
    found = list_values(api, user_id="ada", metadata=json.dumps({"store": {"place": {"0": "a"}}}))["results"]
    assert sorted(row["memories"] for row in found) == [1, 2]


@pytest.mark.parametrize(
    "path", [("nowhere",), ("store", "place", "0", "more"), ("%",), ("store,place",), ("{store}",)]
)
def test_path_that_leads_nowhere_has_no_values(some, api, path):
    assert list_values(api, *path)["results"] == []


def test_answer_says_when_it_is_not_all(some, api, monkeypatch):
    assert [len(list_values(api, "store", "place", limit=limit)["results"]) for limit in (5, 6)] == [5, 6]
    assert [list_values(api, "store", "place", limit=limit)["complete"] for limit in (5, 6)] == [False, True]
    monkeypatch.setattr(values, "MAX_MEMORIES", 8)
    assert list_values(api, "store", "place")["complete"] is False
    assert list_values(api, "nowhere")["complete"] is False
    assert list_values(api, "store", "place", user_id="ada")["complete"] is True


@pytest.mark.parametrize(
    ("query", "field"),
    [("path=", "path"), ("path=a&limit=0", "limit"), ("&".join(["path=a"] * 9), "path")],
    ids=["empty", "limit", "nine"],
)
def test_bad_parameter_is_named(api, query, field):
    response = api.get(f"/memories/values?{query}")
    assert is_problem(response, 422)
    assert {name.split(".")[0] for name in list_blamed_fields(response)} == {field}
