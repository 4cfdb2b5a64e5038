"""Preferences of users: values under keys."""

from functools import partial

import pytest

from memories.knowledge.models import Preference
from tests.api_contract.hostile import UNREADABLE_BODIES, UNSTORABLE_VALUES
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db


def put_preference(api, value: object, status: int = 201, at: str = "ada/theme", **fields: object) -> dict:
    response = api.call("PUT", f"/preferences/{at}", {"value": value, **fields})
    assert response.status_code == status, response.content
    return response.json()


def list_keys(api, address: str) -> list[str]:
    response = api.get(f"/preferences{address}")
    assert response.status_code == 200, response.content
    return [each["key"] for each in response.json()["results"]]


def build_nested(levels: int) -> dict:
    return {"a": build_nested(levels - 1)} if levels > 1 else {}


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1.5, "", "dark", [], [None, [[]]], {}, {"a": {"b": [1, None]}}, build_nested(8), 2**53 - 1],
    ids=repr,
)
def test_any_json_value_is_stored_and_returned(api, value, takes):
    with takes(1):
        learned = put_preference(api, value)
    assert (learned["user_id"], learned["key"], learned["value"]) == ("ada", "theme", value)
    assert (learned["confidence"], learned["source"]) == (1, "api")
    with takes(1):
        assert api.get("/preferences/ada/theme").json() == learned
    with takes(1):
        assert api.get("/preferences/ada").json() == {"results": [learned], "next": None, "previous": None}


def test_a_repeated_preference_replaces_the_value_and_keeps_omitted_fields(api):
    first = put_preference(api, {"a": 1}, confidence=0.5, source="survey")
    again = put_preference(api, {"b": 2}, 200)
    assert again == first | {"value": {"b": 2}, "updated_at": again["updated_at"]}
    assert again["updated_at"] > first["updated_at"]
    assert put_preference(api, None, 200, confidence=0.1, source="guess")["source"] == "guess"
    assert Preference.objects.get().confidence == 0.1


def test_twenty_simultaneous_requests_create_one_preference(transactional_db, api):
    calls = [partial(api.call, "PUT", "/preferences/ada/theme", {"value": number}) for number in range(20)]
    assert sorted(each.status_code for each in run_at_once(calls)) == [200] * 19 + [201]
    assert Preference.objects.get().value in range(20)


@pytest.mark.parametrize("raw", ['{"a": "\\u0000"}', '"\\ud800"', "1e400", "9007199254740992", '[[{"a": 1e400}]]'])
def test_a_value_that_cannot_be_stored_is_refused(api, raw):
    response = api.raw("PUT", "/preferences/ada/theme", f'{{"value": {raw}}}')
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"value"}


@pytest.mark.parametrize(
    "value", [build_nested(9), {str(n): 1 for n in range(257)}, "x" * 70_000, ["x" * 70_000]], ids=len
)
def test_a_value_is_bounded(api, value):
    assert is_problem(api.call("PUT", "/preferences/ada/theme", {"value": value}), 422)


def test_no_value_causes_a_server_error(api):
    for what, raw in (UNSTORABLE_VALUES | UNREADABLE_BODIES).items():
        response = api.raw("PUT", "/preferences/ada/theme", f'{{"value": {raw}}}'.encode("utf-8", "surrogatepass"))
        assert response.status_code < 500, what
        assert response.status_code < 400 or is_problem(response, 400, 422), what


def test_a_value_is_required_and_unknown_fields_are_refused(api):
    for body in ({}, {"value": 1, "extra": 1}, {"value": 1, "confidence": 2}, {"value": 1, "source": ""}):
        assert is_problem(api.call("PUT", "/preferences/ada/theme", body), 422)
    assert is_problem(api.call("PUT", f"/preferences/ada/{'x' * 256}", {"value": 1}), 422)
    assert Preference.objects.count() == 0


def test_a_category_matches_a_part_of_the_key_case_insensitively(api):
    for key in ("ui.Theme", "ui.font", "ui_size", "100%25", "reply.tone"):
        put_preference(api, 1, at=f"ada/{key}")
    for category, expected in {
        "UI.": ["ui.font", "ui.Theme"],
        "theme": ["ui.Theme"],
        "_": ["ui_size"],
        "%25": ["100%"],
        "u%25t": [],
        "%5C": [],
        "e": ["reply.tone", "ui_size", "ui.Theme"],
    }.items():
        assert list_keys(api, f"/ada?category={category}") == expected
        assert list_keys(api, f"?user_id=ada&category={category}") == expected
    assert is_problem(api.get("/preferences/ada?category="), 422)


def test_preferences_are_separate_for_each_user_and_listed_together(api, outsider):
    for at in ("ada/theme", "ben/theme", "ada/tone"):
        put_preference(api, 1, at=at)
    put_preference(outsider, "theirs")
    assert list_keys(api, "/ada") == ["tone", "theme"]
    assert list_keys(api, "/nobody") == []
    assert list_keys(api, "") == ["tone", "theme", "theme"]
    assert list_keys(outsider, "") == ["theme"]


def test_pages_lead_through_all_preferences(api):
    for number in range(5):
        put_preference(api, number, at=f"ada/key {number}")
    page = api.get("/preferences/ada?limit=3").json()
    assert [each["value"] for each in page["results"]] == [4, 3, 2]
    assert [each["value"] for each in api.get(f"/preferences/ada?limit=3&cursor={page['next']}").json()["results"]] == [
        1,
        0,
    ]


def test_a_user_id_may_contain_slashes(api):
    put_preference(api, 1, at="team/ada/theme")
    put_preference(api, 2, at="team/ada/tone")
    assert Preference.objects.values_list("user_id", flat=True).distinct().get() == "team/ada"
    assert api.get("/preferences/team/ada/theme").json()["value"] == 1
    assert list_keys(api, "?user_id=team%2Fada") == ["tone", "theme"]
    assert is_problem(api.get("/preferences/team/ada"), 404)
    assert api.delete("/preferences/team/ada/tone").status_code == 204


def test_a_deleted_preference_is_not_found(api, outsider):
    put_preference(api, 1)
    before = fingerprint_tables()
    assert is_problem(outsider.delete("/preferences/ada/theme"), 404)
    assert is_problem(outsider.get("/preferences/ada/theme"), 404)
    assert fingerprint_tables() == before
    assert api.delete("/preferences/ada/theme").status_code == 204
    assert is_problem(api.delete("/preferences/ada/theme"), 404)
    assert is_problem(api.get("/preferences/ada/theme"), 404)


def test_erasing_a_user_deletes_preferences_and_patterns(api):
    put_preference(api, 1)
    put_preference(api, 1, at="ben/theme")
    for user in ("ada", "ben"):
        api.post("/patterns", {"pattern_type": "workflow", "key": "suite first", "user_id": user})
    erased = api.delete("/users/ada").json()["erased"]
    assert (erased["preferences"], erased["patterns"]) == (1, 1)
    assert Preference.objects.get().user_id == "ben"
