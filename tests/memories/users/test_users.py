"""The list of users, the totals of one, and a user's memories in one call."""

import re
from urllib.parse import quote

import pytest
from django.utils import timezone

from memories.graph.models import UserTotal
from memories.graph.tasks import refresh_statistics
from memories.models import Memory
from memory_site.core.http.path_labels import REPOSITORY_OPERATIONS, USER_OPERATIONS
from sessions_app.models import Namespace
from tests.wire import is_problem, list_blamed_fields, list_operations

pytestmark = pytest.mark.django_db


def load_user(api, user: str) -> dict:
    response = api.get(f"/users/{user}/memories")
    assert response.status_code == 200, response.content
    return response.json()


def create_memories(namespace: Namespace, user: str, count: int) -> list[Memory]:
    rows = [Memory(namespace=namespace, user_id=user, content=f"{n}", source_system="test") for n in range(count)]
    return Memory.objects.bulk_create(rows)


def add_relationship(api, start: str, finish: str, **fields: object) -> str:
    return api.post(f"/memories/{start}/relationships", {"to_id": finish} | fields).json()["id"]


# One user's memories


def test_a_users_memories_are_loaded_newest_first_with_their_relationships(api):
    ids = [api.add(content, user_id="ada")["id"] for content in ("tea", "coffee", "milk")]
    api.add("bread", user_id="ben")
    links = {add_relationship(api, ids[0], ids[1], strength=0.5), add_relationship(api, ids[2], ids[0], type="refines")}
    loaded = load_user(api, "ada")
    assert [each["id"] for each in loaded["memories"]] == ids[::-1]
    assert loaded["memories"][0] == api.get(f"/memories/{ids[2]}").json()
    assert {each["id"] for each in loaded["relationships"]} == links
    assert {(each["from_id"], each["to_id"]) for each in loaded["relationships"]} == {
        (ids[0], ids[1]),
        (ids[2], ids[0]),
    }


def test_loading_a_user_takes_one_statement(api, takes):
    ids = [api.add(content, user_id="ada")["id"] for content in ("tea", "coffee")]
    add_relationship(api, *ids)
    with takes(1):
        load_user(api, "ada")


def test_a_thousand_memories_are_loaded_with_the_relationships_among_them(api, namespace):
    rows = create_memories(namespace, "ada", 1_005)
    inside = add_relationship(api, str(rows[-1].pk), str(rows[5].pk))
    add_relationship(api, str(rows[-1].pk), str(rows[4].pk))
    loaded = load_user(api, "ada")
    assert len(loaded["memories"]) == 1_000
    assert loaded["memories"][0]["content"] == "1004"
    assert [each["id"] for each in loaded["relationships"]] == [inside]


def test_expired_memories_are_not_loaded(api):
    ids = [api.add(content, user_id="ada")["id"] for content in ("tea", "coffee")]
    add_relationship(api, *ids)
    Memory.objects.filter(pk=ids[0]).update(expires_at=timezone.now())
    loaded = load_user(api, "ada")
    assert ([each["id"] for each in loaded["memories"]], loaded["relationships"]) == ([ids[1]], [])


def test_an_unknown_user_has_no_memories(api, outsider):
    api.add("tea", user_id="ada")
    nothing = {"memories": [], "relationships": []}
    assert load_user(api, "ben") == load_user(outsider, "ada") == nothing


@pytest.mark.parametrize("user", ["team/ada", "memories", "graph/ada", "ä b", "a%b", "a%2Fmemories", "..a", "users"])
def test_a_user_id_may_be_almost_any_label(api, user):
    api.add("tea", user_id=user)
    assert len(load_user(api, quote(user, safe=""))["memories"]) == 1
    assert api.get(f"/users/{quote(user, safe='')}").json()["user_id"] == user
    assert api.delete(f"/users/{quote(user, safe='')}").json()["erased"]["memories"] == 1


# Ids that no path can contain


def test_the_operations_below_users_and_repositories_are_known():
    found = {"users": set(), "repositories": set()}
    for operation in list_operations():
        if match := re.fullmatch(r"/(users|repositories)/\{\w+\}/(.+)", operation.path):
            found[match[1]].add(match[2])
    assert found == {"users": set(USER_OPERATIONS), "repositories": set(REPOSITORY_OPERATIONS)}


@pytest.mark.parametrize(
    "user", [*(f"a/{name}" for name in USER_OPERATIONS), ".", "..", "a/../b", "/a", "a/", "a\nb", "a\u0085b"]
)
def test_a_user_id_that_no_path_can_contain_is_refused(api, user):
    for path, body in (
        ("/memories", {"content": "tea"}),
        ("/tool-results", {"agent_id": "crm", "tool": "search", "result": {}}),
        ("/conversations", {}),
        ("/insights", {"content": "A cache in front of the database halves the load at noon."}),
        ("/patterns", {"pattern_type": "workflow", "key": "tea"}),
        ("/workflows/w/executions", {"adapter": "langgraph"}),
    ):
        response = api.post(path, body | {"user_id": user})
        assert is_problem(response, 422), path
        assert list_blamed_fields(response) == {"user_id"}, path
    assert is_problem(api.call("PUT", f"/preferences/{quote(user, safe='')}/theme", {"value": 1}), 404, 422)


@pytest.mark.parametrize("user", ["a/memories", "x/graph", "x/retrieve", "..", "a\nb"])
def test_a_user_with_such_an_id_can_be_read_and_erased(api, namespace, user):
    create_memories(namespace, user, 2)
    create_memories(namespace, "a", 1)
    address = f"/users?user_id={quote(user, safe='')}"
    total = {"user_id": user, "memories": 2, "relationships": 0}
    assert api.get(address).json()["results"] == [total]
    assert len(api.get(f"/memories?user_id={quote(user, safe='')}").json()["results"]) == 2
    assert api.delete(f"{address}&dry_run=true").json()["matched"]["memories"] == 2
    assert api.delete(address).json()["erased"]["memories"] == 2
    assert list(Memory.objects.values_list("user_id", flat=True)) == ["a"]
    assert is_problem(api.delete(address), 404)


@pytest.mark.parametrize("name", ["..", "a/./b", "/a", "a/", "a\nb"])
def test_other_names_in_paths_are_refused_as_well(api, name):
    for path, body in (
        ("/memories", {"content": "tea", "repo_id": name}),
        ("/memories", {"content": "tea", "workflow_id": name}),
        ("/documents", {"content": "tea", "repo_id": name}),
        ("/projects/dependencies", {"source_project": name, "target_project": "b", "type": "uses"}),
    ):
        response = api.post(path, body)
        assert is_problem(response, 422), path
        assert len(list_blamed_fields(response)) == 1, path
    assert is_problem(api.post("/memories", {"content": "tea", "repo_id": "a/ingestions"}), 422)


@pytest.mark.parametrize("name", ["groups", "dependencies", "search", "patterns", "groups/x", "x/dependencies"])
def test_a_project_may_be_called_like_an_operation(api, name):
    assert (
        api.post("/projects/dependencies", {"source_project": name, "target_project": "b", "type": "uses"}).status_code
        == 201
    )
    [found] = api.get(f"/projects/{quote(name, safe='')}/dependencies").json()["results"]
    assert found["source_project"] == name


@pytest.mark.parametrize("name", ["report", "a/executions", "a/executions/b"])
def test_a_workflow_may_be_called_like_an_operation(api, name):
    address = f"/workflows/{quote(name, safe='')}/executions"
    execution = api.post(address, {"adapter": "langgraph"}).json()["id"]
    assert [each["id"] for each in api.get(address).json()["results"]] == [execution]
    assert api.get(f"{address}/{execution}").json()["workflow_id"] == name


# One user


def test_a_user_has_the_totals_of_now(api, takes):
    ids = [api.add(content, user_id="ada")["id"] for content in ("tea", "coffee")]
    add_relationship(api, *ids)
    with takes(2):
        user = api.get("/users/ada").json()
    assert user == {"user_id": "ada", "memories": 2, "relationships": 1, "statistics": None}


def test_an_unknown_user_is_404(api, outsider):
    api.add("tea", user_id="ada")
    assert is_problem(api.get("/users/ben"), 404)
    assert is_problem(outsider.get("/users/ada"), 404)


def test_a_user_without_memories_is_404_even_with_old_statistics(api):
    memory = api.add("tea", user_id="ada")
    refresh_statistics()
    api.delete(f"/memories/{memory['id']}")
    assert is_problem(api.get("/users/ada"), 404)
    assert api.get("/users").json()["results"] == []


# The list


def test_users_are_listed_by_id_with_their_totals(api, outsider):
    for content, user in (("tea", "ben"), ("tea", "ada"), ("coffee", "ada"), ("milk", None)):
        api.add(content, user_id=user)
    assert api.get("/users").json() == {
        "results": [
            {"user_id": "ada", "memories": 2, "relationships": 0},
            {"user_id": "ben", "memories": 1, "relationships": 0},
        ],
        "next": None,
        "previous": None,
    }
    assert outsider.get("/users").json()["results"] == []


def test_listing_users_takes_one_statement(api, takes):
    api.add("tea", user_id="ada")
    with takes(1):
        api.get("/users")


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 8])
def test_users_are_paginated_forwards_and_backwards(api, namespace, limit):
    names = [f"user {number}" for number in range(7)]
    UserTotal.objects.bulk_create([UserTotal(namespace=namespace, user_id=name, memories=1) for name in names * 2])
    page, there = api.get(f"/users?limit={limit}").json(), []
    assert page["previous"] is None
    pages = [page]
    while page["next"]:
        page = api.get(f"/users?limit={limit}&cursor={page['next']}").json()
        pages.append(page)
    there = [[each["user_id"] for each in page["results"]] for page in pages]
    assert [name for names_of_page in there for name in names_of_page] == names
    back = [there[-1]]
    while page["previous"]:
        page = api.get(f"/users?limit={limit}&cursor={page['previous']}").json()
        back.append([each["user_id"] for each in page["results"]])
    assert back[::-1] == there


def test_a_cursor_is_stable_when_users_are_added(api):
    for user in ("b", "d"):
        api.add("tea", user_id=user)
    cursor = api.get("/users?limit=1").json()["next"]
    for user in ("a", "c"):
        api.add("tea", user_id=user)
    assert [each["user_id"] for each in api.get(f"/users?cursor={cursor}").json()["results"]] == ["c", "d"]


@pytest.mark.parametrize("cursor", ["x", "YQ", "é", "c2lkZXdheXMgYQ", "YWZ0ZXIgAA", "////"])
def test_an_invalid_cursor_is_refused(api, cursor):
    response = api.get(f"/users?cursor={quote(cursor)}")
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"cursor"}
