"""Listing memories."""

import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.utils import timezone

from memories.models import Memory
from memories.reads import fetch_memory, fetch_memory_page, prepare_page
from memories.schemas import OUT_COLUMNS, to_memory_out
from memories.search.filters import Filters
from memory_site.core.db.ids import uuid7
from memory_site.core.http.pagination import BY_CREATED_AT, build_keyset_filter, paginate
from memory_site.core.http.responses import json_response
from tests.wire import is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db


def list_memories(api, **parameters: object) -> dict:
    parameters = {name: value for name, value in parameters.items() if value is not None}
    response = api.get(f"/memories?{urlencode(parameters, doseq=True)}")
    assert response.status_code == 200, response.content
    return response.json()


def list_contents(page: dict) -> list[str]:
    return [memory["content"] for memory in page["results"]]


def add_numbered(api, count: int, **fields: object) -> None:
    items = [{"content": f"number {each}", **fields} for each in range(count)]
    assert api.post("/memories/bulk", {"memories": items}).status_code == 201


def test_the_newest_comes_first(api):
    for content, year in (("middle", 2015), ("oldest", 2010), ("newest", 2020)):
        api.add(content, created_at=f"{year}-01-01T00:00:00Z")
    assert list_contents(list_memories(api)) == ["newest", "middle", "oldest"]


def test_listed_memory_has_every_field(api):
    memory = api.add("tea", tags=["a"], metadata={"b": 1}, entity={"system": "jira", "id": "A-1"})
    assert list_memories(api)["results"] == [api.get(f"/memories/{memory['id']}").json()]


def test_an_empty_list_has_no_other_pages(api):
    assert list_memories(api) == {"results": [], "next": None, "previous": None}


def test_twenty_are_listed_by_default(api):
    add_numbered(api, 25)
    assert len(list_memories(api)["results"]) == 20


@pytest.mark.parametrize("limit", [1, 99, 100])
def test_list_respects_the_limit(api, limit):
    add_numbered(api, 101)
    assert len(list_memories(api, limit=limit)["results"]) == limit


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "1.5", "", "1e1", "null"])
def test_the_limit_lies_between_1_and_100(api, limit):
    response = api.get(f"/memories?limit={limit}")
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"limit"}


def test_list_takes_one_statement_after_authentication(api, takes):
    add_numbered(api, 5)
    with takes(1):
        page = list_memories(api, limit=2)
    with takes(1):
        list_memories(api, limit=2, cursor=page["next"], tags=["a"], metadata='{"a": 1}')


# Filters

FILTER_VALUES = {
    "user_id": "ada",
    "agent_id": "writer",
    "workflow_id": "letters",
    "repo_id": "site",
    "session_id": "monday",
    "source_system": "agno",
}


@pytest.fixture
def two(api) -> None:
    """A memory with every field, and one with none."""
    entity = {"system": "jira", "id": "A-1"}
    metadata = {"important": True, "team": {"name": "blue", "size": 3}, "list": [1, 2]}
    api.add(
        "one",
        **FILTER_VALUES,
        entity=entity,
        memory_type="rag",
        tags=["a", "b"],
        importance=4,
        confidence=0.9,
        metadata=metadata,
        created_at="2015-06-01T00:00:00Z",
    )
    api.add("other", tags=["c"], importance=2, confidence=0.3, metadata={"important": False}, user_id="Ada")


@pytest.mark.parametrize(
    "filters",
    [
        *({name: value} for name, value in FILTER_VALUES.items()),
        FILTER_VALUES,
        {"entity_system": "jira"},
        {"memory_types": "rag"},
        {"memory_types": ["insight", "rag"]},
        {"tags": "a"},
        {"tags": ["b", "a"]},
        {"any_tags": ["a", "z"]},
        {"min_importance": 3},
        {"min_importance": 4},
        {"min_confidence": 0.9},
        {"created_before": "2016-01-01T00:00:00Z"},
        {"created_before": "2015-06-01T02:00:01+02:00"},
        {"metadata": '{"team": {"name": "blue"}}'},
        {"metadata": '{"list": [2]}'},
        {"metadata": '{"important": true}'},
        {"any_metadata": '{"team": {"size": 3}}'},
        {"any_metadata": ['{"important": 1}', '{"list": [1]}']},
        {"without_metadata": ['{"important": 1}', '{"important": false}']},
        {"important": "true"},
        {"important": "1"},
        {"tags": "a", "min_importance": 4, "important": "true", "user_id": "ada", "memory_types": "rag"},
    ],
    ids=str,
)
def test_filter_selects_matching_memories(api, two, filters):
    assert list_contents(list_memories(api, **filters)) == ["one"]


@pytest.mark.parametrize(
    "filters",
    [
        {"user_id": "Ada"},
        {"tags": "c"},
        {"memory_types": "agent"},
        {"created_after": "2015-06-01T00:00:01Z"},
        {"important": "false"},
        {"metadata": '{"important": false}'},
    ],
    ids=str,
)
def test_filter_excludes_other_memories(api, two, filters):
    assert list_contents(list_memories(api, **filters)) == ["other"]


@pytest.mark.parametrize(
    "filters",
    [
        {"user_id": "ben"},
        {"user_id": "%"},
        {"tags": ["a", "c"]},
        {"min_importance": 5},
        {"min_confidence": 0.91},
        {"created_before": "2015-06-01T00:00:00Z"},
        {"metadata": '{"team": "blue"}'},
        {"any_metadata": ['{"team": "blue"}', '{"list": 1}']},
        {"without_metadata": "{}"},
        {"ids": "00000000-0000-0000-0000-000000000000"},
        {"user_id": "ada", "tags": "c"},
    ],
    ids=str,
)
def test_filter_without_matches_lists_nothing(api, two, filters):
    assert list_memories(api, **filters)["results"] == []


def test_created_after_is_inclusive(api, two):
    assert list_contents(list_memories(api, created_after="2015-06-01T00:00:00Z")) == ["other", "one"]


def test_ids_filter_selects_these_memories(api):
    ids = [api.add(f"number {each}")["id"] for each in range(4)]
    assert list_contents(list_memories(api, ids=[ids[0], ids[2]])) == ["number 2", "number 0"]


def test_filters_apply_to_every_page(api):
    add_numbered(api, 7, user_id="ada")
    add_numbered(api, 7, user_id="ben")
    page = list_memories(api, user_id="ada", limit=5)
    rest = list_memories(api, user_id="ada", limit=5, cursor=page["next"])
    assert len(page["results"]) == 5
    assert len(rest["results"]) == 2
    assert {memory["user_id"] for memory in page["results"] + rest["results"]} == {"ada"}


@pytest.mark.parametrize(
    "query",
    [
        *("foo=1", "user=ada", "user_id__startswith=a", "min_importance=0", "min_importance=6", "min_importance=x"),
        *("min_confidence=nan", "min_confidence=2", "created_after=2020-01-01", "created_after=2020-01-01T00:00:00"),
        *(
            "metadata=x",
            "metadata=[]",
            "metadata=1",
            "metadata=%7B%22a%22:NaN%7D",
            "metadata=%7B%22a%22:1,%22a%22:2%7D",
            "any_metadata=x",
            "any_metadata=%7B%7D&any_metadata=1",
            "without_metadata=[]",
        ),
        *("memory_types=note", "tags=", "ids=x", "important=maybe", "user_id=", "user_id=a&user_id=b"),
    ],
)
def test_invalid_filter_is_refused_and_named(api, query):
    response = api.get(f"/memories?{query}")
    assert is_problem(response, 422)
    assert {field.partition(".")[0] for field in list_blamed_fields(response)} == {query.partition("=")[0]}


# Pages


def walk_pages(api, start: dict, direction: str, **parameters: object) -> list[list[str]]:
    pages, page = [list_contents(start)], start
    while page[direction]:
        page = list_memories(api, cursor=page[direction], **parameters)
        pages.append(list_contents(page))
    return pages


@pytest.mark.parametrize("limit", [1, 3, 5, 7, 10])
def test_pages_cover_all_memories_forward_and_back(api, limit):
    add_numbered(api, 15, created_at="2020-01-01T00:00:00Z")
    everything = list_contents(list_memories(api, limit=100))
    assert len(set(everything)) == 15
    first = list_memories(api, limit=limit)
    assert first["previous"] is None
    forward = walk_pages(api, first, "next", limit=limit)
    assert [content for page in forward for content in page] == everything
    assert all(len(page) == limit for page in forward[:-1])
    last = first
    while last["next"]:
        last = list_memories(api, cursor=last["next"], limit=limit)
    back = walk_pages(api, last, "previous", limit=limit)
    assert back == forward[::-1]


def test_added_memories_do_not_shift_pages(api):
    for each in range(6):
        api.add(f"number {each}")
    first = list_memories(api, limit=3)
    for each in range(4):
        api.add(f"later {each}")
    second = list_memories(api, limit=3, cursor=first["next"])
    assert list_contents(first) + list_contents(second) == [f"number {each}" for each in range(5, -1, -1)]
    assert list_contents(list_memories(api, limit=3, cursor=second["previous"])) == list_contents(first)


def test_deleted_memories_do_not_shift_pages(api):
    ids = [api.add(f"number {each}")["id"] for each in range(6)]
    first = list_memories(api, limit=2)
    api.delete(f"/memories/{ids[4]}")  # the row that the cursor names
    api.delete(f"/memories/{ids[3]}")
    assert list_contents(list_memories(api, limit=2, cursor=first["next"])) == ["number 2", "number 1"]


def test_previous_page_contains_added_memories(api):
    for each in range(3):
        api.add(f"number {each}")
    second = list_memories(api, limit=1, cursor=list_memories(api, limit=1)["next"])
    api.add("later")
    first = list_memories(api, limit=1, cursor=second["previous"])
    assert list_contents(first) == ["number 2"]
    assert list_contents(list_memories(api, limit=1, cursor=first["previous"])) == ["later"]


@pytest.mark.parametrize("cursor", ["", "x", "e30", "W10", "WyJhZnRlciJd", "bnVsbA", "🐈", "%00", "x" * 5000])
def test_invalid_cursor_is_refused(api, cursor):
    response = api.get(f"/memories?cursor={cursor}")
    assert is_problem(response, 422) or cursor == ""
    assert list_blamed_fields(response) == ({"cursor"} if cursor else set())


# The indexes that make it fast


@pytest.fixture
def many(namespace) -> None:
    """3,000 memories of two namespaces, one in fifty important, with statistics for the planner."""
    moment = timezone.now()
    rows = (
        Memory(
            id=uuid7(),
            namespace_id=namespace.pk,
            content=f"number {each}",
            source_system="test",
            metadata={"important": True} if each % 50 == 0 else {},
            created_at=moment - timedelta(minutes=each),
        )
        for each in range(3000)
    )
    Memory.objects.bulk_create(rows, batch_size=1000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE memories_memory")


def explain(rows) -> str:
    return rows.explain()


def test_list_uses_the_index_of_newest_memories(many, namespace):
    rows = Memory.objects.in_namespace(namespace.pk).newest_first()
    for each in (
        rows,
        rows.recent(),
        rows.filter(
            build_keyset_filter(BY_CREATED_AT.fields, (timezone.now() - timedelta(minutes=900), uuid7()), True)
        ),
    ):
        assert "Index Scan using memory_newest" in explain(each[:21])
        assert "Sort" not in explain(each[:21])


def test_list_of_important_memories_uses_the_partial_index(many, namespace):
    rows = Memory.objects.in_namespace(namespace.pk)
    for each in (rows.important(), rows.matching(Filters(important=True)).newest_first()):
        assert "using memory_important" in explain(each[:21])
        assert "Sort" not in explain(each[:21])
        assert each.count() == 60


def test_recent_covers_thirty_days(api, namespace):
    api.add("today")
    for days in (29, 31):
        api.add(f"{days} days ago", created_at=(timezone.now() - timedelta(days=days)).isoformat())
    recent = Memory.objects.in_namespace(namespace.pk).recent()
    assert [memory.content for memory in recent] == ["today", "29 days ago"]


def test_every_filter_of_the_body_is_a_query_parameter_too(api):
    schema = json.loads(api.client.get("/api/v1/openapi.json").content)
    parameters = schema["paths"]["/api/v1/memories"]["get"]["parameters"]
    assert {each["name"] for each in parameters if each["in"] == "query"} == set(Filters.model_fields) | {
        "limit",
        "cursor",
    }


@pytest.mark.parametrize("filters", [{}, {"user_id": "ada"}, {"any_tags": ["a", "b"], "metadata": {"n": 1e16}}])
def test_pages_are_those_of_the_orm_byte_for_byte(api, namespace, filters):
    """The statement is the ORM's, compiled once; these are its rows as the ORM itself reads them."""
    for number in range(7):
        more = {"entity": {"system": "crm", "id": str(number)}} if number % 3 == 0 else {}
        moment = f"2026-01-0{number + 1}T00:00:00{'.000120' if number % 2 else ''}Z"
        values = {"metadata": {"n": 1e16, "text": "é\n"}, "tags": ["a"], "user_id": "ada", "created_at": moment}
        api.add(f"memory {number}", confidence=number / 10, **values, **more)
    rows = Memory.objects.in_namespace(namespace.pk).matching(Filters(**filters))
    cursors: list[str | None] = [None]
    for cursor in cursors:
        ours = fetch_memory_page(namespace.pk, Filters(**filters), 3, cursor)
        assert (
            json_response(ours).content == json_response(paginate(rows, OUT_COLUMNS, 3, cursor, to_memory_out)).content
        )
        cursors += {ours["next"], ours["previous"]} - {None, *cursors}
    assert len(cursors) > 3
    memory = ours["results"][0]
    assert json_response(fetch_memory(namespace.pk, memory["id"])).content == json_response(memory).content


def test_a_page_is_compiled_once_for_all_namespaces_and_positions(api, outsider):
    for client in (api, outsider):
        for number in range(5):
            client.add(f"memory {number}")
    prepare_page.cache_clear()
    for client in (api, outsider):
        page = client.get("/memories?limit=2").json()
        while page["next"]:
            page = client.get(f"/memories?limit=2&cursor={page['next']}").json()
    assert prepare_page.cache_info().misses == 2
