"""Groups of projects."""

from uuid import uuid4

import pytest

from memories.insights.models import ProjectGroup
from tests.memories.projects.helpers import add_group
from tests.wire import is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db


def list_group_names(api, query: str = "") -> list[str]:
    response = api.get(f"/projects/groups{query}")
    assert response.status_code == 200, response.content
    return [each["name"] for each in response.json()["results"]]


def test_new_group_is_201_with_its_fields(api, namespace):
    response = api.post("/projects/groups", {"name": "shop", "projects": ["web", "org/api"]})
    assert response.status_code == 201
    result, row = response.json(), ProjectGroup.objects.get()
    assert (result["id"], result["name"], result["projects"]) == (str(row.pk), "shop", ["web", "org/api"])
    assert (result["description"], result["metadata"], row.namespace) == ("", {}, namespace)


def test_existing_group_name_is_200_and_updated(api):
    first = add_group(api, "shop", "web", description="What we sell.", metadata={"a": 1})
    response = api.post("/projects/groups", {"name": "shop", "projects": ["api"], "metadata": {"b": 2}})
    assert response.status_code == 200
    second = response.json()
    assert second["updated_at"] > first["updated_at"]
    changed = {"projects": ["api"], "metadata": {"b": 2}, "updated_at": second["updated_at"]}
    assert second == first | changed
    assert ProjectGroup.objects.count() == 1


def test_repeated_projects_are_stored_once(api):
    assert add_group(api, "shop", "web", "api", "web")["projects"] == ["web", "api"]


@pytest.mark.parametrize(
    "wrong",
    [{"projects": []}, {"projects": [f"p{n}" for n in range(1001)]}, {"projects": ["p" * 256]}, {"name": "n" * 201}]
    + [{"name": " "}, {"projects": [" "]}, {"projects": None}, {"description": "d" * 10_001}, {"owner": "me"}],
    ids=str,
)
def test_invalid_groups_are_refused(api, wrong):
    assert is_problem(api.post("/projects/groups", {"name": "shop", "projects": ["web"]} | wrong), 422)
    assert not ProjectGroup.objects.exists()


def test_group_may_have_a_thousand_projects(api):
    assert len(add_group(api, "all", *(f"project {n}" for n in range(1000)))["projects"]) == 1000


def test_list_is_paged_newest_first(api):
    for name in ("one", "two", "three"):
        add_group(api, name, "web")
    first = api.get("/projects/groups?limit=2").json()
    assert [each["name"] for each in first["results"]] == ["three", "two"]
    assert list_group_names(api, f"?cursor={first['next']}") == ["one"]


def test_list_is_filtered_by_project(api):
    add_group(api, "shop", "web", "api")
    add_group(api, "tools", "api")
    assert list_group_names(api, "?project=web") == ["shop"]
    assert list_group_names(api, "?project=api") == ["tools", "shop"]
    assert list_group_names(api, "?project=we") == []


def test_group_is_returned_by_id(api):
    result = add_group(api, "shop", "web")
    assert api.get(f"/projects/groups/{result['id']}").json() == result


def test_patch_leaves_absent_fields(api):
    before = add_group(api, "shop", "web", description="What we sell.")
    response = api.patch(f"/projects/groups/{before['id']}", {"projects": ["web", "api"]})
    assert response.status_code == 200
    after = response.json()
    assert after == before | {"projects": ["web", "api"], "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]


@pytest.mark.parametrize("wrong", [{"projects": []}, {"name": None}, {"name": ""}, {"metadata": None}], ids=str)
def test_invalid_patch_is_refused(api, wrong):
    before = add_group(api, "shop", "web")
    assert is_problem(api.patch(f"/projects/groups/{before['id']}", wrong), 422)
    assert api.get(f"/projects/groups/{before['id']}").json() == before


def test_patch_to_a_used_name_is_refused(api):
    add_group(api, "shop", "web")
    other = add_group(api, "tools", "api")
    response = api.patch(f"/projects/groups/{other['id']}", {"name": "shop"})
    assert is_problem(response, 409)
    assert "group" in response.json()["detail"]
    assert api.get(f"/projects/groups/{other['id']}").json() == other


def test_deleted_group_is_gone(api):
    result = add_group(api, "shop", "web")
    assert api.delete(f"/projects/groups/{result['id']}").status_code == 204
    assert list_group_names(api) == []
    for response in (api.get(f"/projects/groups/{result['id']}"), api.delete(f"/projects/groups/{result['id']}")):
        assert is_problem(response, 404)


def test_patch_of_an_unknown_group_is_404(api):
    assert is_problem(api.patch(f"/projects/groups/{uuid4()}", {"name": "shop"}), 404)


def test_other_namespaces_see_and_change_nothing(api, outsider):
    result = add_group(api, "shop", "web")
    address = f"/projects/groups/{result['id']}"
    assert list_group_names(outsider) == []
    for response in (outsider.get(address), outsider.patch(address, {"name": "mine"}), outsider.delete(address)):
        assert is_problem(response, 404)
    assert add_group(outsider, "shop", "theirs")["id"] != result["id"]
    assert api.get(address).json() == result


def test_readers_add_no_group(reader):
    assert is_problem(reader.post("/projects/groups", {"name": "shop", "projects": ["web"]}), 403)
    assert list_group_names(reader) == []


def test_registering_repositories_creates_a_group(api):
    repositories = ["web", {"id": "api", "name": "The interface"}, {"name": "mail", "path": "/srv/mail"}, "web"]
    body = {"name": "shop", "repositories": repositories, "description": "All."}
    response = api.post("/projects/register", body)
    assert response.status_code == 201
    result = response.json()
    assert (result["projects"], result["description"]) == (["web", "api", "mail"], "All.")
    assert api.get(f"/projects/groups/{result['id']}").json() == result


def test_registering_again_updates_the_group(api):
    before = add_group(api, "shop", "web", "mail", description="All.", metadata={"a": 1})
    response = api.post("/projects/register", {"name": "shop", "repositories": ["web", "api"]})
    assert response.status_code == 200
    after = response.json()
    assert after == before | {"projects": ["web", "api"], "updated_at": after["updated_at"]}


@pytest.mark.parametrize(
    "repository",
    [
        "/srv/repositories/shop-api", "/srv/repositories/shop-api/", "./shop-api", "../shop-api", "~/src/shop-api",
        "~ada/shop-api", "C:\\src\\shop-api", "https://git.example/acme/shop-api.git", "shop-api",
        {"path": "/srv/repositories/shop-api"}, {"path": "shop-api"}, {"path": "src/shop-api/"},
        {"url": "https://git.example/acme/shop-api.git"},
        {"url": "git@git.example:acme/shop-api.git"},
        {"url": "git@git.example:shop-api.git"},
        {"path": "/srv/checkout", "name": "shop-api"}, {"id": "shop-api", "path": "/srv/x"},
        {"path": "/" + "x" * 1000 + "/shop-api"},
    ],
    ids=str,
)  # fmt: skip
def test_the_base_name_of_a_path_is_the_project(api, repository):
    response = api.post("/projects/register", {"name": "shop", "repositories": [repository]})
    assert response.status_code == 201, response.content
    assert response.json()["projects"] == ["shop-api"]


def test_the_name_of_a_repository_may_contain_slashes(api):
    response = api.post("/projects/register", {"name": "shop", "repositories": ["acme/shop-api"]})
    assert response.json()["projects"] == ["acme/shop-api"]


@pytest.mark.parametrize(
    ("repositories", "field"),
    [
        *(([each], "repositories.0") for each in ("/", "./", "~/", "C:\\", "x" * 256, "/srv/" + "x" * 256)),
        ([{"path": "/"}], "repositories.0.path"), ([{"url": "https://"}], "repositories.0.url"),
        ([], "repositories"), ([{}], "repositories.0.id"), ([""], "repositories.0"), ([7], "repositories.0"),
        ([{"id": "api", "colour": "red"}], "repositories.0.colour"),
    ],
)  # fmt: skip
def test_invalid_repositories_are_refused_by_field(api, repositories, field):
    response = api.post("/projects/register", {"name": "shop", "repositories": repositories})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
