"""The console's pages of project groups and project dependencies."""

import re

import pytest

from memories.insights.models import ProjectDependency, ProjectGroup
from sessions_app.models import Namespace
from tests.console import assert_saved, fetch_form_errors, fetch_page_text, query_rows, render_rows
from tests.memories.projects.helpers import insert_insight, search_from_project

pytestmark = pytest.mark.django_db
GROUPS_URL, DEPENDENCIES_URL = "/admin/insights/projectgroup/", "/admin/insights/projectdependency/"
MAX_LIST_STATEMENTS = 5  # session, user, saved filters, count, page
LONG_LABEL = "x" * 256


def build_group_form(space: Namespace, **fields: object) -> dict:
    form = {"namespace": space.pk, "name": "Shop", "projects": "web, api, web", "description": "All of it."}
    return form | {"metadata": '{"team": 1}'} | fields


def build_dependency_form(space: Namespace, **fields: object) -> dict:
    form = {"namespace": space.pk, "source_project": "web", "target_project": "api", "type": "uses"}
    return form | {"description": "For prices.", "metadata": "{}"} | fields


def test_group_is_added_and_changed(console, namespace):
    assert_saved(console.post(f"{GROUPS_URL}add/", build_group_form(namespace)))
    row = ProjectGroup.objects.get()
    assert (row.namespace, row.name, row.projects, row.metadata) == (namespace, "Shop", ["web", "api"], {"team": 1})
    assert all(words in fetch_page_text(console, GROUPS_URL) for words in ("Shop", "web, api", "All of it.", "ours"))
    assert_saved(
        console.post(
            f"{GROUPS_URL}{row.pk}/change/", build_group_form(namespace, name="Store", projects="web", description="")
        )
    )
    changed = ProjectGroup.objects.get()
    assert (changed.name, changed.projects, changed.description) == ("Store", ["web"], "")
    assert changed.updated_at > row.updated_at


def test_group_and_dependency_added_here_make_insights_visible(console, namespace, api):
    assert_saved(console.post(f"{GROUPS_URL}add/", build_group_form(namespace, projects="web, payment-secrets")))
    assert_saved(console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace, target_project="api-keys")))
    insert_insight(namespace, "Migrations lock their tables.", "payment-secrets")
    insert_insight(namespace, "Migrations of keys lock no tables at all, ever.", "api-keys")
    assert len(search_from_project(api, "web", "migrations", mode="text")) == 2
    row = ProjectGroup.objects.get()
    assert_saved(console.post(f"{GROUPS_URL}{row.pk}/change/", build_group_form(namespace, projects="web, other")))
    assert len(search_from_project(api, "web", "migrations", mode="text")) == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"namespace": "x"}, "Select a valid choice"),
        ({"name": ""}, "required"),
        ({"name": "x" * 201}, "at most 200"),
        ({"name": " "}, "blank"),
        ({"name": "a\0"}, "Null characters"),
        ({"projects": ""}, "required"),
        ({"projects": " , ,"}, "required"),
        ({"projects": LONG_LABEL}, "at most 255"),
        ({"projects": "a\0"}, "NUL"),
        ({"projects": ",".join(map(str, range(1001)))}, "at most 1000"),
        ({"description": "x" * 10_001}, "at most 10000"),
        ({"metadata": "[]"}, "Must be an object"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_groups_are_refused_with_a_reason(console, namespace, fields, words):
    assert words in fetch_form_errors(console.post(f"{GROUPS_URL}add/", build_group_form(namespace, **fields)))
    assert not ProjectGroup.objects.exists()


def test_duplicate_group_name_is_refused_with_a_link_to_the_first(console, namespace, elsewhere):
    first = ProjectGroup.objects.create(namespace=namespace, name="Shop", projects=["web"])
    other = ProjectGroup.objects.create(namespace=namespace, name="Store", projects=["web"])
    for path in (f"{GROUPS_URL}add/", f"{GROUPS_URL}{other.pk}/change/"):
        text = fetch_form_errors(console.post(path, build_group_form(namespace)))
        assert "with this name exists" in text
        assert f"{GROUPS_URL}{first.pk}/change/" in text
    assert_saved(console.post(f"{GROUPS_URL}add/", build_group_form(elsewhere)))


def test_dependency_is_added_and_its_projects_cannot_change(console, namespace):
    assert_saved(console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace)))
    row = ProjectDependency.objects.get()
    assert (row.source_project, row.target_project, row.type, row.namespace) == ("web", "api", "uses", namespace)
    sent = build_dependency_form(namespace, target_project="other", description="", metadata='{"a": 1}')
    assert_saved(console.post(f"{DEPENDENCIES_URL}{row.pk}/change/", sent))
    changed = ProjectDependency.objects.get()
    assert (changed.target_project, changed.description, changed.metadata) == ("api", "", {"a": 1})
    assert changed.updated_at > row.updated_at


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"namespace": ""}, "required"),
        ({"target_project": "web"}, "A project cannot depend on itself."),
        ({"target_project": ""}, "required"),
        ({"source_project": LONG_LABEL}, "at most 255"),
        ({"source_project": "\u3164"}, "blank"),
        ({"source_project": "a\0"}, "Null characters"),
        ({"type": "likes"}, "Select a valid choice"),
        ({"metadata": "{"}, "valid JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_dependencies_are_refused_with_a_reason(console, namespace, fields, words):
    assert words in fetch_form_errors(
        console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace, **fields))
    )
    assert not ProjectDependency.objects.exists()


def test_duplicate_dependency_is_refused(console, namespace):
    assert_saved(console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace)))
    assert "dependency exists" in fetch_form_errors(
        console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace))
    )
    assert_saved(console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace, type="extends")))


def test_each_filter_and_search_narrows_the_lists(console, namespace, elsewhere):
    mine, there = {"namespace": namespace}, {"namespace": elsewhere}
    shop = ProjectGroup.objects.create(**mine, name="Shop", projects=["web", "api"])
    tea = ProjectGroup.objects.create(**there, name="Tea", projects=["tea"])
    uses = ProjectDependency.objects.create(**mine, source_project="web", target_project="api", type="uses")
    extends = ProjectDependency.objects.create(**there, source_project="tea", target_project="milk", type="extends")
    for path, ours, theirs in ((GROUPS_URL, shop, tea), (DEPENDENCIES_URL, uses, extends)):
        assert query_rows(console, path, namespace=namespace.pk) == query_rows(console, path, project="api") == [ours]
        assert query_rows(console, path, project="tea") == [theirs]
        assert query_rows(console, path, project="te") == []
    assert query_rows(console, GROUPS_URL, q="sho") == [shop]
    assert (
        query_rows(console, DEPENDENCIES_URL, q="mil")
        == query_rows(console, DEPENDENCIES_URL, type="extends")
        == [extends]
    )


@pytest.mark.parametrize("path", [GROUPS_URL, DEPENDENCIES_URL])
def test_lists_take_the_same_statements_for_one_and_many(console, namespace, path, django_assert_num_queries):
    def more(name: str) -> None:
        space = Namespace.objects.create(name=name)
        ProjectGroup.objects.create(namespace=space, name=name, projects=["web"])
        ProjectDependency.objects.create(namespace=space, source_project="web", target_project=name, type="uses")

    more("first")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        render_rows(console, path)
    for number in range(4):
        more(f"n{number}")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        assert len(render_rows(console, path)) == 5


PROJECTS_URL = "/admin/insights/projectgroup/projects/"


def test_projects_are_listed_with_what_they_have(console, api, namespace):
    api.add("a memory of shop", repo_id="shop")
    insert_insight(namespace, "Retry with backoff, always.", "shop", "billing")
    api.post("/projects/groups", {"name": "all", "projects": ["shop", "web"]})
    api.post("/projects/dependencies", {"source_project": "web", "target_project": "shop", "type": "uses"})
    rows = console.get(PROJECTS_URL, {"namespace": namespace.pk, "sort": "insights"}).context["rows"]
    numbers = {row[0]: [re.sub("<[^>]+>", "", cell) for cell in row[1:5]] for row in rows}
    assert numbers == {"shop": ["1", "1", "1", "1"], "billing": ["0", "1", "0", "0"], "web": ["0", "0", "1", "1"]}


@pytest.mark.parametrize("parameters", [{}, {"sort": "x", "namespace": "y"}, {"namespace": "\0"}])
def test_page_of_projects_takes_anything(console, parameters):
    assert console.get(PROJECTS_URL, parameters).status_code == 200
