"""Projects that belong together."""

from uuid import uuid4

import pytest

from memories.insights.models import ProjectGroup
from tests.memories.projects.projects import add_group
from tests.wire import is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db


def list_group_names(api, query: str = "") -> list[str]:
    response = api.get(f"/projects/groups{query}")
    assert response.status_code == 200, response.content
    return [each["name"] for each in response.json()["results"]]


def test_a_new_one_is_201_and_says_what_was_said(api, namespace):
    response = api.post("/projects/groups", {"name": "shop", "projects": ["web", "org/api"]})
    assert response.status_code == 201
    told, row = response.json(), ProjectGroup.objects.get()
    assert (told["id"], told["name"], told["projects"]) == (str(row.pk), "shop", ["web", "org/api"])
    assert (told["description"], told["metadata"], row.namespace) == ("", {}, namespace)


def test_the_same_name_again_is_200_and_changes_what_is_said(api):
    first = add_group(api, "shop", "web", description="What we sell.", metadata={"a": 1})
    response = api.post("/projects/groups", {"name": "shop", "projects": ["api"], "metadata": {"b": 2}})
    assert response.status_code == 200
    second = response.json()
    assert second["updated_at"] > first["updated_at"]
    changed = {"projects": ["api"], "metadata": {"b": 2}, "updated_at": second["updated_at"]}
    assert second == first | changed
    assert ProjectGroup.objects.count() == 1


def test_a_project_counts_once(api):
    assert add_group(api, "shop", "web", "api", "web")["projects"] == ["web", "api"]


@pytest.mark.parametrize(
    "wrong",
    [{"projects": []}, {"projects": [f"p{n}" for n in range(1001)]}, {"projects": ["p" * 256]}, {"name": "n" * 201}]
    + [{"name": " "}, {"projects": [" "]}, {"projects": None}, {"description": "d" * 10_001}, {"owner": "me"}],
    ids=str,
)
def test_what_cannot_be_a_group_is_refused(api, wrong):
    assert is_problem(api.post("/projects/groups", {"name": "shop", "projects": ["web"]} | wrong), 422)
    assert not ProjectGroup.objects.exists()


def test_a_thousand_projects_are_not_too_many(api):
    assert len(add_group(api, "all", *(f"project {n}" for n in range(1000)))["projects"]) == 1000


def test_the_newest_is_listed_first_page_by_page(api):
    for name in ("one", "two", "three"):
        add_group(api, name, "web")
    first = api.get("/projects/groups?limit=2").json()
    assert [each["name"] for each in first["results"]] == ["three", "two"]
    assert list_group_names(api, f"?cursor={first['next']}") == ["one"]


def test_the_groups_of_one_project_are_listed(api):
    add_group(api, "shop", "web", "api")
    add_group(api, "tools", "api")
    assert list_group_names(api, "?project=web") == ["shop"]
    assert list_group_names(api, "?project=api") == ["tools", "shop"]
    assert list_group_names(api, "?project=we") == []


def test_one_is_told(api):
    told = add_group(api, "shop", "web")
    assert api.get(f"/projects/groups/{told['id']}").json() == told


def test_a_change_leaves_what_it_does_not_name(api):
    before = add_group(api, "shop", "web", description="What we sell.")
    response = api.patch(f"/projects/groups/{before['id']}", {"projects": ["web", "api"]})
    assert response.status_code == 200
    after = response.json()
    assert after == before | {"projects": ["web", "api"], "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]


@pytest.mark.parametrize("wrong", [{"projects": []}, {"name": None}, {"name": ""}, {"metadata": None}], ids=str)
def test_a_change_to_what_cannot_be_is_refused(api, wrong):
    before = add_group(api, "shop", "web")
    assert is_problem(api.patch(f"/projects/groups/{before['id']}", wrong), 422)
    assert api.get(f"/projects/groups/{before['id']}").json() == before


def test_two_groups_cannot_have_one_name(api):
    add_group(api, "shop", "web")
    other = add_group(api, "tools", "api")
    response = api.patch(f"/projects/groups/{other['id']}", {"name": "shop"})
    assert is_problem(response, 409)
    assert "group" in response.json()["detail"]
    assert api.get(f"/projects/groups/{other['id']}").json() == other


def test_a_deleted_one_is_gone(api):
    told = add_group(api, "shop", "web")
    assert api.delete(f"/projects/groups/{told['id']}").status_code == 204
    assert list_group_names(api) == []
    for response in (api.get(f"/projects/groups/{told['id']}"), api.delete(f"/projects/groups/{told['id']}")):
        assert is_problem(response, 404)


def test_a_change_of_what_is_not_there_is_404(api):
    assert is_problem(api.patch(f"/projects/groups/{uuid4()}", {"name": "shop"}), 404)


def test_another_namespace_sees_and_changes_nothing(api, outsider):
    told = add_group(api, "shop", "web")
    address = f"/projects/groups/{told['id']}"
    assert list_group_names(outsider) == []
    for response in (outsider.get(address), outsider.patch(address, {"name": "mine"}), outsider.delete(address)):
        assert is_problem(response, 404)
    assert add_group(outsider, "shop", "theirs")["id"] != told["id"]
    assert api.get(address).json() == told


def test_who_may_only_read_makes_no_group(reader):
    assert is_problem(reader.post("/projects/groups", {"name": "shop", "projects": ["web"]}), 403)
    assert list_group_names(reader) == []


def test_registering_repositories_makes_a_group_of_them(api):
    repositories = ["web", {"id": "api", "name": "The interface"}, {"name": "mail", "path": "/srv/mail"}, "web"]
    body = {"name": "shop", "repositories": repositories, "description": "All."}
    response = api.post("/projects/register", body)
    assert response.status_code == 201
    told = response.json()
    assert (told["projects"], told["description"]) == (["web", "api", "mail"], "All.")
    assert api.get(f"/projects/groups/{told['id']}").json() == told


def test_registering_again_changes_the_group(api):
    before = add_group(api, "shop", "web", "mail", description="All.", metadata={"a": 1})
    response = api.post("/projects/register", {"name": "shop", "repositories": ["web", "api"]})
    assert response.status_code == 200
    after = response.json()
    assert after == before | {"projects": ["web", "api"], "updated_at": after["updated_at"]}


@pytest.mark.parametrize(
    ("repositories", "field"),
    [
        ([], "repositories"), ([{}], "repositories.0"), ([""], "repositories.0"), ([7], "repositories.0"),
        ([{"id": "api", "colour": "red"}], "repositories.0.colour"),
    ],
)  # fmt: skip
def test_what_is_no_repository_is_refused_by_name(api, repositories, field):
    response = api.post("/projects/register", {"name": "shop", "repositories": repositories})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
