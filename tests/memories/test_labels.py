"""GET /labels lists the values of a label with their counts, page by page."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memories import labels
from memories.models import Memory

pytestmark = pytest.mark.django_db


def list_values(api, **parameters: object) -> list[tuple[str, int]]:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    response = api.get(f"/labels?{query}")
    assert response.status_code == 200, response.content
    return [(row["value"], row["memories"]) for row in response.json()["results"]]


@pytest.fixture
def some(api, outsider) -> None:
    api.add("one", user_id="ada", agent_id="planner", tags=["tea", "work"], source_system="jira")
    api.add("two", user_id="ada", tags=["tea"], memory_type="insight")
    api.add("three", user_id="ben", tags=["éclair"], entity={"system": "jira", "id": "OPS-1", "type": "issue"})
    api.add("four", user_id="Ada Lovelace")
    api.add("five")
    outsider.add("theirs", user_id="zoe", tags=["secret"])


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("user_id", [("Ada Lovelace", 1), ("ada", 2), ("ben", 1)]),
        ("agent_id", [("planner", 1)]),
        ("workflow_id", []),
        ("source_system", [("api", 4), ("jira", 1)]),
        ("entity_system", [("jira", 1)]),
        ("tags", [("tea", 2), ("work", 1), ("éclair", 1)]),
    ],
)
def test_values_of_a_label_are_listed_with_their_counts(some, api, field, values):
    assert sorted(list_values(api, field=field)) == sorted(values)


@pytest.mark.parametrize(("field", "prefix", "values"), [("user_id", "a", ["ada"]), ("tags", "t", ["tea"])])
def test_a_prefix_restricts_them_and_its_case_counts(some, api, field, prefix, values):
    assert [value for value, _ in list_values(api, field=field, prefix=prefix)] == values


@pytest.mark.parametrize("prefix", ["%25", "_da", "a%5C"])
def test_a_prefix_is_no_pattern(some, api, prefix):
    assert list_values(api, field="user_id", prefix=prefix) == []
    assert list_values(api, field="tags", prefix=prefix) == []


@pytest.mark.parametrize("field", ["user_id", "tags"])
def test_pages_go_forward_and_back(api, field):
    for number in range(7):
        value = f"v{number}"
        api.add(f"text {number}", user_id=value, tags=[value])
    first = api.get(f"/labels?field={field}&limit=3").json()
    second = api.get(f"/labels?field={field}&limit=3&cursor={first['next']}").json()
    third = api.get(f"/labels?field={field}&limit=3&cursor={second['next']}").json()
    back = api.get(f"/labels?field={field}&limit=3&cursor={third['previous']}").json()
    assert [[row["value"] for row in page["results"]] for page in (first, second, third)] == [
        ["v0", "v1", "v2"], ["v3", "v4", "v5"], ["v6"],
    ]  # fmt: skip
    assert (first["previous"], third["next"], back["results"]) == (None, None, second["results"])


def test_what_has_expired_is_not_counted(some, api):
    Memory.objects.filter(content__in=["one", "three"]).update(expires_at="2020-01-01T00:00:00Z")
    assert list_values(api, field="user_id") == [("Ada Lovelace", 1), ("ada", 1)]
    assert list_values(api, field="tags") == [("tea", 1)]


@pytest.mark.parametrize("field", ["source_system", "tags"])
def test_counting_stops(api, monkeypatch, field):
    monkeypatch.setattr(labels, "MAX_COUNTED", 2)
    monkeypatch.setattr("memories.api.labels.MAX_COUNTED", 2)
    for number in range(3):
        api.add(f"text {number}", tags=["api"])
    assert api.get(f"/labels?field={field}").json()["results"] == [{"value": "api", "memories": 2, "has_more": True}]


def test_each_value_is_one_jump_through_the_index(api, namespace):
    many = [
        Memory(namespace=namespace, content=f"text {n}", source_system="x", user_id=f"user {n % 3}") for n in range(600)
    ]
    Memory.objects.bulk_create(many)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE memories_memory")
        cursor.execute("SET LOCAL enable_seqscan = off")
    with CaptureQueriesContext(connection) as queries:
        assert [value for value, _ in list_values(api, field="user_id")] == ["user 0", "user 1", "user 2"]
    [statement] = [each["sql"] for each in queries if "RECURSIVE" in each["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".replace("%", "%%"))
        plan = cursor.fetchone()[0][0]["Plan"]
    steps = [each for each in iter_nodes(plan) if each.get("Index Name") == "memory_by_user"]
    read = [each["Actual Rows"] + each.get("Rows Removed by Filter", 0) for each in steps]
    assert steps and sorted(read)[-1] <= 200, read


def iter_nodes(plan: dict):
    yield plan
    for each in plan.get("Plans", ()):
        yield from iter_nodes(each)


@pytest.mark.parametrize("query", ["", "field=content", "field=user_id&prefix=%00", "field=user_id&limit=0"])
def test_another_field_is_refused(api, query):
    assert api.get(f"/labels?{query}").status_code == 422
