"""The console's pages of users: the list, and the page of one user with the graph."""

import re
from datetime import timedelta
from html import unescape
from xml.etree import ElementTree

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from memories.graph import analysis, analysis_cache
from memories.graph.models import Relationship
from memories.knowledge.models import Preference
from memories.models import DueEmbedding, Memory
from memories.users.admin.user_list import PER_PAGE
from memories.users.statistics import refresh_statistics_view
from memory_site.core.caches import clear_all_caches
from memory_site.core.db.ids import uuid7
from sessions_app.models import Namespace

pytestmark = pytest.mark.django_db
LIST_URL, USER_URL = "/admin/graph/usertotal/", "/admin/graph/usertotal/user/"
HOSTILE_TEXT = "</title></svg><script>alert('1')</script> \"&amp;"


def create_memories(namespace: Namespace, *contents: str, user: str = "ada", **fields: object) -> list[Memory]:
    fields = {"namespace": namespace, "user_id": user, "source_system": "test"} | fields
    return Memory.objects.bulk_create([Memory(id=uuid7(), content=content, **fields) for content in contents])


def create_relationships(start: Memory, *finishes: Memory, kind: str = "relates_to") -> list[Relationship]:
    fixed = {"namespace_id": start.namespace_id, "owner": start.user_id, "from_memory": start, "type": kind}
    return Relationship.objects.bulk_create([Relationship(to_memory=finish, **fixed) for finish in finishes])


@pytest.fixture
def star(namespace) -> list[Memory]:
    """Return a hub and five leaves of the user ada."""
    memories = create_memories(namespace, "the hub", *(f"leaf {n}" for n in range(5)))
    create_relationships(memories[0], *memories[1:])
    return memories


def fetch_user_page(console, namespace: Namespace, user: str = "ada", **more: str):
    response = console.get(USER_URL, {"namespace": namespace.pk, "user": user, **more})
    assert response.status_code == 200, response.content[:300]
    return response


def parse_graph_svg(response) -> ElementTree.Element:
    """Return the graph, which must be well-formed XML."""
    [svg] = re.findall(r'<svg class="graph-picture".*?</svg>', response.content.decode(), re.DOTALL)
    return ElementTree.fromstring(svg)


def list_svg_titles(svg: ElementTree.Element, kind: str) -> list[str]:
    """List the tooltips of circles or paths."""
    return [each.findtext("title") for each in svg.iter(kind) if each.find("title") is not None]


def read_cells(row: list) -> list[str]:
    return [strip_tags(str(cell)) for cell in row]


def list_user_names(response) -> list[str]:
    return [unescape(each) for each in re.findall(r'class="spoken-name underline">([^<]*)<', response.content.decode())]


def test_the_side_bar_links_to_the_list(console):
    page = console.get("/admin/").content.decode()
    assert f'href="{LIST_URL}"' in page
    assert "Users’ memory" in page


def test_the_list_shows_totals_and_statistics(console, namespace, elsewhere, star):
    create_memories(elsewhere, "tea", user="ben", memory_type="insight", entity_system="crm", entity_id="1")
    refresh_statistics_view()
    response = console.get(LIST_URL)
    [ada, ben] = map(read_cells, response.context["table"]["rows"])
    assert ada[1:7] == ["ours", "6", "0 %", "5", "0", "agent"]
    assert ben[1:7] == ["elsewhere", "1", "0 %", "0", "1", "insight"]
    assert f"{star[0].created_at:%Y-%m-%d}" in response.context["table"]["rows"][0][7]
    assert f"namespace={namespace.pk}&amp;user_id=ada" in response.context["table"]["rows"][0][2]


def test_a_user_without_statistics_is_listed_with_totals(console, namespace, star):
    [ada] = map(read_cells, console.get(LIST_URL).context["table"]["rows"])
    assert ada[2:9] == ["6", "0 %", "5", *["-"] * 4]


def test_totals_stand_above_the_list(console, namespace, elsewhere, star):
    create_memories(namespace, "of nobody", user=None)
    create_memories(elsewhere, "tea", user="ben")
    Memory.objects.filter(pk=star[5].pk).update(state="quarantined")
    Memory.objects.filter(pk=star[4].pk).update(expires_at=timezone.now())
    assert dict(console.get(LIST_URL).context["totals"]) == {
        "users": "2",
        "memories of users": "5",
        "memories without a user": "1",
        "memories in all": "6",
    }
    ours = dict(console.get(LIST_URL, {"namespace": namespace.pk}).context["totals"])
    assert list(ours.values()) == ["1", "4", "1", "5"]
    assert console.get(LIST_URL, {"q": "a"}).context["totals"] == []


def test_the_list_is_ordered(console, namespace):
    for user, memories in (("ada", 1), ("ben", 3), ("eve", 2)):
        create_memories(namespace, *map(str, range(memories)), user=user)
    assert list_user_names(console.get(LIST_URL, {"o": "memories"})) == ["ben", "eve", "ada"]
    assert list_user_names(console.get(LIST_URL, {"o": "x\0"})) == ["ada", "ben", "eve"]


def test_the_share_of_embedded_memories_is_shown(console, namespace, star):
    DueEmbedding.objects.filter(memory__in=star[:5]).delete()
    [ada] = map(read_cells, console.get(LIST_URL).context["table"]["rows"])
    assert ada[3] == "83 %"


def test_the_page_of_a_user_shows_types_weeks_and_what_else_is_kept(console, namespace, star):
    create_memories(namespace, "tea", memory_type="insight")
    create_memories(namespace, "old", created_at=timezone.now() - timedelta(days=1000))
    Preference.objects.create(namespace=namespace, user_id="ada", key="tea", value="green")
    refresh_statistics_view()
    context = fetch_user_page(console, namespace).context
    assert [(bar.label, bar.value) for bar in context["types"]] == [("agent", 7), ("insight", 1)]
    assert len(console.get(context["types"][0].url).context["cl"].result_list) == 7
    [(_, [week])] = context["timeline"].rows
    assert week.value == 7
    assert len(console.get(week.url).context["cl"].result_list) == 7
    assert [(name, count) for name, count, _ in context["related"]] == [("preferences", "1"), ("workflow runs", "")]
    for _, _, url in context["related"]:
        assert console.get(url).status_code == 200


def test_the_list_filters_by_namespace_and_prefix_of_the_user_id(console, namespace, elsewhere):
    for space, user in ((namespace, "ada"), (namespace, "ben"), (elsewhere, "adam")):
        create_memories(space, "tea", user=user)
    assert list_user_names(console.get(LIST_URL)) == ["ada", "ben", "adam"]
    assert list_user_names(console.get(LIST_URL, {"q": "ad"})) == ["ada", "adam"]
    assert list_user_names(console.get(LIST_URL, {"q": "ad", "namespace": namespace.pk})) == ["ada"]
    assert "No user matches." in console.get(LIST_URL, {"q": "a_"}).content.decode()


def test_an_empty_list_is_explained(console):
    assert "No memory names a user yet" in console.get(LIST_URL).content.decode()


def test_a_user_without_memories_is_not_listed(console, namespace, star):
    Memory.objects.all().delete()
    assert list_user_names(console.get(LIST_URL)) == []


def test_the_list_is_paginated_with_a_constant_number_of_statements(console, namespace):
    create_memories(namespace, "tea", user="user 000")
    with CaptureQueriesContext(connection) as few:
        console.get(LIST_URL)
    for n in range(1, PER_PAGE + 1):
        create_memories(namespace, "tea", user=f"user {n:03}")
    with CaptureQueriesContext(connection) as many:
        first = console.get(LIST_URL)
    assert len(many) == len(few)
    assert len(list_user_names(first)) == PER_PAGE
    assert list_user_names(console.get(f"{LIST_URL}?{first.context['next_page']}")) == [f"user {PER_PAGE:03}"]
    assert first.context["previous_page"] is False
    assert list_user_names(console.get(LIST_URL, {"page": "x"})) == list_user_names(first)


def test_the_graph_has_a_title_for_each_memory_and_relationship(console, namespace, star):
    create_relationships(star[1], star[2], kind="contradicts")
    svg = parse_graph_svg(fetch_user_page(console, namespace))
    assert sorted(each.split("\n")[0] for each in list_svg_titles(svg, "circle")) == sorted(
        each.content for each in star
    )
    assert sorted(list_svg_titles(svg, "path")) == sorted(
        [*(f"the hub relates to leaf {n}" for n in range(5)), "leaf 0 contradicts leaf 1"]
    )
    assert "the hub" in [text.text for text in svg.iter("text")]


def test_the_circle_of_a_central_memory_is_larger(console, namespace, star):
    circles = {
        each.findtext("title").split("\n")[0]: float(each.get("r"))
        for each in parse_graph_svg(fetch_user_page(console, namespace)).iter("circle")
    }
    assert max(circles, key=circles.get) == "the hub"
    assert circles["the hub"] > circles["leaf 0"] > 0


def test_a_circle_links_to_its_memory(console, namespace, star):
    links = {
        each.find("circle/title").text.split("\n")[0]: each.get("href")
        for each in parse_graph_svg(fetch_user_page(console, namespace)).iter("a")
    }
    assert links["the hub"] == reverse("admin:memories_memory_change", args=[star[0].pk])
    assert console.get(links["the hub"]).status_code == 200


def test_texts_are_escaped_in_the_graph_and_on_the_page(console, namespace):
    memories = create_memories(namespace, HOSTILE_TEXT, "tea", user=HOSTILE_TEXT, entity_type=HOSTILE_TEXT)
    create_relationships(*memories)
    page = fetch_user_page(console, namespace, HOSTILE_TEXT)
    assert HOSTILE_TEXT in [each.split("\n")[0] for each in list_svg_titles(parse_graph_svg(page), "circle")]
    for response in (page, console.get(LIST_URL)):
        assert "alert" in response.content.decode()
        assert "<script>alert" not in response.content.decode()


def test_other_users_and_namespaces_are_not_drawn(console, namespace, elsewhere, star):
    for other in (
        create_memories(namespace, "kumquat", "durian", user="ben"),
        create_memories(elsewhere, "kumquat", "durian"),
    ):
        create_relationships(*other)
    page = fetch_user_page(console, namespace).content.decode()
    assert "leaf 0" in page
    assert "kumquat" not in page
    assert "durian" not in page


def test_the_number_of_drawn_memories_is_bounded_and_shown(console, namespace, star, monkeypatch):
    create_memories(namespace, "apart")
    assert (
        "All connected memories are drawn. 1 more has no relationship."
        in fetch_user_page(console, namespace).content.decode()
    )
    monkeypatch.setattr(analysis, "MAX_CENTRAL", 4)
    clear_all_caches()
    response = fetch_user_page(console, namespace)
    assert len(list_svg_titles(parse_graph_svg(response), "circle")) == 4
    assert "The 4 most central of 6 connected memories are drawn." in response.content.decode()


def test_central_memories_clusters_bridges_and_connectors_are_listed(console, namespace, star):
    found = fetch_user_page(console, namespace).context
    assert "the hub" in found["central"][0][0]
    assert [size for _, _, size in found["clusters"]] == ["6"]
    assert (len(found["bridges"]), found["bridge_total"], found["connector_total"]) == (5, "5", "1")
    assert "the hub" in found["connectors"][0][0]


def test_entities_are_filtered_by_system(console, namespace):
    for system in ("jira", "salesforce"):
        create_memories(
            namespace, system, entity_system=system, entity_id=f"{system}-1", entity_name=f"the {system} one"
        )
    both, one = fetch_user_page(console, namespace), fetch_user_page(console, namespace, system="jira")
    assert {row["entity_name"] for _, row in both.context["entities"]} == {"the jira one", "the salesforce one"}
    assert [row["entity_name"] for _, row in one.context["entities"]] == ["the jira one"]
    assert [(name, n) for name, n, *_ in one.context["systems"]] == [("jira", "1"), ("salesforce", "1")]


def test_relationships_link_to_their_pages(console, namespace, star):
    page = fetch_user_page(console, namespace)
    assert len(page.context["relationships"]) == 5
    assert console.get(page.context["relationships"][0][2]).status_code == 200


def test_types_link_to_their_memories(console, namespace, star):
    refresh_statistics_view()
    [bar] = fetch_user_page(console, namespace).context["types"]
    assert (bar.label, bar.value) == ("agent", 6)
    assert len(console.get(bar.url).context["cl"].result_list) == 6


def test_the_page_says_why_no_graph_is_drawn(console, namespace, monkeypatch):
    create_memories(namespace, "tea", "coffee", user="ben")
    assert "No two of these memories are related" in fetch_user_page(console, namespace, "ben").content.decode()
    monkeypatch.setattr(analysis, "MAX_GRAPH_MEMORIES", 1)
    assert "too large to be analysed" in fetch_user_page(console, namespace, "ben").content.decode()


def test_the_page_says_when_too_many_graphs_are_being_analysed(console, namespace, star, monkeypatch):
    monkeypatch.setattr(analysis_cache, "MAX_WAIT_SECONDS", 0.1)
    with analysis_cache.COMPUTATION:
        page = fetch_user_page(console, namespace).content.decode()
    assert "are being analysed. Ask again" in page
    assert "leaf 0" in page


def test_the_page_takes_a_constant_number_of_statements(console, namespace, star):
    fetch_user_page(console, namespace)
    with CaptureQueriesContext(connection) as few:
        fetch_user_page(console, namespace)
    more = create_memories(namespace, *(f"more {n}" for n in range(300)))
    create_relationships(star[0], *more)
    with CaptureQueriesContext(connection) as many:
        fetch_user_page(console, namespace)
    assert len(many) == len(few) + 2  # the state before the computation, and the relationships
    assert len(few) <= 18


@pytest.mark.parametrize(
    "query", [{}, {"user": "ada"}, {"namespace": "x", "user": "ada"}, {"user": "\0"}, {"user": "nobody"}]
)
def test_an_unknown_user_redirects_to_the_list(console, namespace, star, query):
    response = console.get(USER_URL, query | ({"namespace": namespace.pk} if query.get("user") == "nobody" else {}))
    assert (response.status_code, response["Location"]) == (302, LIST_URL)
    assert "Nothing is known of this user." in console.get(LIST_URL).content.decode()


def test_the_pages_require_permission_to_view_memories(client, django_user_model, namespace, star):
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    client.force_login(clerk)
    pages = [LIST_URL, f"{USER_URL}?namespace={namespace.pk}&user=ada"]
    assert [client.get(page).status_code for page in pages] == [403, 403]
    assert LIST_URL not in client.get("/admin/").content.decode()
    clerk.user_permissions.add(Permission.objects.get(codename="view_memory"))
    assert [client.get(page).status_code for page in pages] == [200, 200]
    assert LIST_URL in client.get("/admin/").content.decode()
    client.logout()
    assert [client.get(page).status_code for page in pages] == [302, 302]
