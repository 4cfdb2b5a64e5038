"""Dependencies of projects."""

from urllib.parse import quote
from uuid import uuid4

import pytest

from memories.insights.models import DependencyType, ProjectDependency
from tests.memories.projects.helpers import add_dependency
from tests.wire import is_problem

pytestmark = pytest.mark.django_db


def list_dependencies(api, query: str = "") -> list[tuple[str, str, str]]:
    response = api.get(f"/projects/dependencies{query}")
    assert response.status_code == 200, response.content
    return [(each["source_project"], each["type"], each["target_project"]) for each in response.json()["results"]]


def list_project_dependencies(api, project: str, query: str = "") -> list[tuple[str, str, str]]:
    response = api.get(f"/projects/{quote(project)}/dependencies{query}")
    assert response.status_code == 200, response.content
    found = response.json()["results"]
    return [(each["direction"], each["source_project"], each["target_project"]) for each in found]


@pytest.mark.parametrize("kind", DependencyType.values)
def test_new_dependency_is_201_with_its_fields(api, namespace, kind):
    body = {"source_project": "web", "target_project": "api", "type": kind, "metadata": {"since": "May"}}
    response = api.post("/projects/dependencies", body)
    assert response.status_code == 201
    result, row = response.json(), ProjectDependency.objects.get()
    assert {name: result[name] for name in body} == body
    assert (result["id"], result["description"], row.namespace) == (str(row.pk), "", namespace)


def test_existing_dependency_is_200_and_updated(api):
    first = add_dependency(api, "web", "api", description="By HTTP.", metadata={"a": 1})
    body = {"source_project": "web", "target_project": "api", "type": "uses", "metadata": {"b": 2}}
    response = api.post("/projects/dependencies", body)
    assert response.status_code == 200
    second = response.json()
    assert second["updated_at"] > first["updated_at"]
    assert second == first | {"metadata": {"b": 2}, "updated_at": second["updated_at"]}


def test_type_and_direction_distinguish_dependencies(api):
    pairs = [
        add_dependency(api, "web", "api"),
        add_dependency(api, "web", "api", "extends"),
        add_dependency(api, "api", "web"),
    ]
    assert len({each["id"] for each in pairs}) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"target_project": "web"}, {"type": "likes"}, {"source_project": ""}, {"target_project": "p" * 256}, {"x": 1}],
    ids=str,
)
def test_invalid_dependencies_are_refused(api, wrong):
    body = {"source_project": "web", "target_project": "api", "type": "uses"} | wrong
    assert is_problem(api.post("/projects/dependencies", body), 422)
    assert not ProjectDependency.objects.exists()


def test_list_is_newest_first_and_filtered_by_project_and_type(api):
    add_dependency(api, "web", "api")
    add_dependency(api, "mail", "web", "extends")
    add_dependency(api, "mail", "api")
    assert list_dependencies(api) == [("mail", "uses", "api"), ("mail", "extends", "web"), ("web", "uses", "api")]
    assert list_dependencies(api, "?project=web") == [("mail", "extends", "web"), ("web", "uses", "api")]
    assert list_dependencies(api, "?project=web&type=uses") == [("web", "uses", "api")]
    assert is_problem(api.get("/projects/dependencies?type=likes"), 422)


def test_dependencies_of_a_project_have_a_direction(api):
    add_dependency(api, "web", "api")
    add_dependency(api, "mail", "web")
    add_dependency(api, "mail", "api")
    assert list_project_dependencies(api, "web") == [("inbound", "mail", "web"), ("outbound", "web", "api")]
    assert list_project_dependencies(api, "web", "?direction=both") == list_project_dependencies(api, "web")
    assert list_project_dependencies(api, "web", "?direction=outbound") == [("outbound", "web", "api")]
    assert list_project_dependencies(api, "web", "?direction=inbound") == [("inbound", "mail", "web")]
    assert is_problem(api.get("/projects/web/dependencies?direction=up"), 422)


@pytest.mark.parametrize("name", ["org/web", "groups", "a/dependencies", "web site", "дом"])
def test_any_label_is_a_project_name_in_the_path(api, name):
    add_dependency(api, name, "api")
    assert list_project_dependencies(api, name) == [("outbound", name, "api")]


def test_unknown_project_has_no_dependencies(api):
    assert list_project_dependencies(api, "web") == []


def test_dependencies_of_a_project_are_paged(api):
    for n in range(3):
        add_dependency(api, "web", f"library {n}")
    first = api.get("/projects/web/dependencies?limit=2").json()
    assert len(first["results"]) == 2
    assert list_project_dependencies(api, "web", f"?cursor={first['next']}") == [("outbound", "web", "library 0")]


def test_deleted_dependency_is_gone(api):
    address = f"/projects/dependencies/{add_dependency(api, 'web', 'api')['id']}"
    assert api.delete(address).status_code == 204
    assert list_dependencies(api) == []
    assert is_problem(api.delete(address), 404)
    assert is_problem(api.delete(f"/projects/dependencies/{uuid4()}"), 404)


def test_other_namespaces_see_and_change_nothing(api, outsider):
    result = add_dependency(api, "web", "api")
    assert list_dependencies(outsider) == list_project_dependencies(outsider, "web") == []
    assert is_problem(outsider.delete(f"/projects/dependencies/{result['id']}"), 404)
    assert add_dependency(outsider, "web", "api")["id"] != result["id"]
    assert list_dependencies(api) == [("web", "uses", "api")]


def test_readers_add_no_dependency(reader):
    body = {"source_project": "web", "target_project": "api", "type": "uses"}
    assert is_problem(reader.post("/projects/dependencies", body), 403)
