"""How operators see insights, what they come to at a glance, and how projects hang together."""

import re
from datetime import timedelta
from html import unescape
from xml.etree import ElementTree

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memories.insights.models import Insight, ProjectDependency, ProjectGroup
from memories.insights.quality_levels import QualityLevel, get_quality_level
from memories.insights.redaction import redact_project_name
from memories.insights.storage import InsightDraft, save_insights
from memories.models import Memory
from sessions_app.models import Conversation, Namespace
from tests.console import rows_drawn, rows_listed
from tests.memories.projects.projects import search_from_project

pytestmark = pytest.mark.django_db
LIST_URL, GLANCE_URL = "/admin/insights/insight/", "/admin/insights/insight/glance/"
GROUPS_URL, DEPENDENCIES_URL = "/admin/insights/projectgroup/", "/admin/insights/projectdependency/"
MAX_LIST_STATEMENTS = 4  # session, user, count, page
SCRIPT_TAG = "<script>alert(1)</script>"
LONG_LABEL = "x" * 256
WORDS = ["harbour", "lighthouse", "anchor", "tide", "ferry", "captain", "storm", "rope", "deck", "mast", "sail", "crew"]


def create_insight(namespace: Namespace, text: str = "Migrations lock their tables.", **fields: object) -> Insight:
    fields = {"insight_type": "gotcha", "quality": 0.5, "confidence": 0.75} | fields
    [(pk, _)] = save_insights(namespace.pk, [InsightDraft(text, **fields)])
    return Insight.objects.get(pk=pk)


def create_insights(namespace: Namespace, *qualities: float, **fields: object) -> None:
    """Insights of these qualities that are not alike."""
    for number, quality in enumerate(qualities):
        word = WORDS[number % len(WORDS)]
        create_insight(
            namespace, f"{quality} {number} " + f"{word} {number} " * 8 + str(fields), quality=quality, **fields
        )


def get_page_url(row: Insight, what: str = "change") -> str:
    return f"{LIST_URL}{row.pk}/{what}/"


def fetch_page_text(console, path: str, **parameters: object) -> str:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.content.decode()


def list_rows(console, path: str = LIST_URL, **parameters: object) -> list:
    return rows_listed(console, path, **parameters)


def drawn(console, path: str = LIST_URL, **parameters: object) -> list:
    return rows_drawn(console, path, **parameters)


def fetch_form_errors(response) -> str:
    """What a form that was not kept says."""
    assert response.status_code == 200, (response.status_code, response.content[:300])
    assert response.context["adminform"].form.errors
    return str(response.context["adminform"].form.errors)


def assert_saved(response) -> None:
    errors = response.context and response.context["adminform"].form.errors
    assert response.status_code == 302, (response.status_code, errors)


def create_clerk(client, django_user_model, *permissions: str):
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(clerk)
    return client


def build_insight_form(**fields: object) -> dict:
    whole = {"insight_type": "gotcha", "collection": "project", "topics": "locks, tables", "projects": "shop"}
    return whole | {"quality": "0.5"} | fields


# The list


def test_the_side_bar_leads_to_every_page(console):
    page = fetch_page_text(console, "/admin/")
    assert all(f'href="{path}"' in page for path in (LIST_URL, GLANCE_URL, GROUPS_URL, DEPENDENCIES_URL))


def test_insights_are_listed_newest_first_with_what_they_say_besides(console, namespace):
    topics = ["postgres", "locks", "tables", "waiting"]
    first = create_insight(
        namespace, "Long ago somebody wrote this.", created_at=timezone.now() - timedelta(days=3, hours=2)
    )
    second = create_insight(namespace, topics=topics, projects=["shop", "billing"], quality=0.8, usage_count=1234)
    assert list_rows(console) == [second, first]
    text = fetch_page_text(console, LIST_URL)
    assert all(words in text for words in ("Migrations lock", "gotcha", "postgres, locks, tables +1", "shop, billing"))
    assert all(words in text for words in ("0.80", "0.75", "1\u202f234", "3 d<"))


def test_the_list_takes_the_same_statements_for_one_and_for_many(console, namespace, django_assert_num_queries):
    create_insight(namespace)
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        drawn(console)
    for number in range(5):
        create_insights(Namespace.objects.create(name=f"n{number}"), 0.1)
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        assert len(drawn(console)) == 6


def test_insights_are_narrowed(console, namespace, elsewhere):
    ours = create_insight(namespace, projects=["shop"], quality=0.39)
    theirs = create_insight(
        elsewhere,
        "Tea is best.",
        insight_type="general",
        collection="global",
        projects=["tea"],
        usage_count=1,
        quality=0.7,
    )
    for parameters in (
        {"namespace": namespace.pk}, {"insight_type": "gotcha"}, {"collection": "project"}, {"project": "shop"},
        {"use": "never"}, {"quality": "low"}, {"quality": "3"}, {"q": "migration lock"}, {"q": str(ours.pk)},
    ):  # fmt: skip
        assert list_rows(console, **parameters) == [ours], parameters
    assert (
        list_rows(console, use="used")
        == list_rows(console, quality="high")
        == list_rows(console, quality="7")
        == [theirs]
    )
    assert (
        list_rows(console, quality="middle")
        == list_rows(console, quality="4")
        == list_rows(console, project="sho")
        == []
    )
    assert list_rows(console, q="migration tea") == []
    assert len(list_rows(console, quality="10", use="x", insight_type="x", collection="x")) == 2


def test_a_project_with_a_secret_name_is_found_by_its_true_name(console, namespace):
    row = create_insight(namespace, projects=["payment-secrets"])
    assert row.projects == [redact_project_name("payment-secrets")] != ["payment-secrets"]
    assert list_rows(console, project="payment-secrets") == [row]
    assert "payment-secrets" not in fetch_page_text(console, LIST_URL)


@pytest.mark.parametrize(("quality", "level"), [(0, "low"), (0.39, "low"), (0.4, "middle"), (0.7, "high"), (1, "high")])
def test_an_insight_has_the_level_by_which_it_is_found(console, namespace, quality, level):
    row = create_insight(namespace, quality=quality)
    assert get_quality_level(quality) == QualityLevel(level)
    assert [each for each in QualityLevel if list_rows(console, quality=each) == [row]] == [level]
    assert [n for n in range(10) if list_rows(console, quality=str(n)) == [row]] == [min(int(quality * 10), 9)]


@pytest.mark.parametrize("query", ["a\0b", SCRIPT_TAG, "x" * 5000, "\\", "%s", "the", '"', "-"])
def test_no_query_breaks_a_page(console, namespace, query):
    create_insight(namespace)
    for path in (LIST_URL, GROUPS_URL, DEPENDENCIES_URL, GLANCE_URL):
        assert SCRIPT_TAG not in fetch_page_text(console, path, q=query)
        for name in ("namespace", "project", "quality", "use", "insight_type", "collection", "type"):
            assert console.get(path, {name: query}).status_code in (200, 302, 400)


def test_no_other_condition_can_be_put_into_the_address(console):
    for path in (LIST_URL, GROUPS_URL, DEPENDENCIES_URL):
        assert console.get(path, {"metadata__contains": "x", "memory__content__regex": "(a+)+$"}).status_code in (
            302,
            400,
        )


def test_empty_lists_say_how_they_fill(console, namespace):
    assert "There is no insight yet." in fetch_page_text(console, LIST_URL)
    assert "No insight is like this." in fetch_page_text(console, LIST_URL, q="nothing")
    assert "There is no group yet." in fetch_page_text(console, GROUPS_URL)
    assert "There is no dependency yet." in fetch_page_text(console, DEPENDENCIES_URL)


def test_what_has_expired_is_not_shown(console, namespace):
    row = create_insight(namespace)
    Memory.objects.update(expires_at=timezone.now())
    assert list_rows(console) == []
    assert console.get(get_page_url(row)).status_code == 302


# One insight's page


def test_an_insights_page_shows_its_text_and_leads_to_where_it_comes_from(console, namespace):
    source = Memory.objects.create(namespace=namespace, content="the whole story", source_system="test")
    talk = Conversation.objects.create(namespace=namespace, summary="About locks")
    row = create_insight(
        namespace, f"First line.\n\n{SCRIPT_TAG} and more", source_memory_id=source.pk, conversation_id=talk.pk
    )
    text = fetch_page_text(console, get_page_url(row))
    assert f"/admin/memories/memory/{row.pk}/change/" in text
    assert all(words in text for words in (f"/admin/memories/memory/{source.pk}/change/", "the whole story"))
    assert all(words in text for words in (f"/admin/sessions_app/conversation/{talk.pk}/change/", "About locks"))
    assert "First line.\n\n&lt;script&gt;" in text
    assert SCRIPT_TAG not in text


def test_an_insight_is_changed_and_its_text_is_not(console, namespace):
    row = create_insight(namespace)
    sent = build_insight_form(
        insight_type="pattern", collection="global", quality="0.9", projects="shop, shop, payment-secrets"
    )
    assert_saved(console.post(get_page_url(row), sent | {"text": "other", "content": "other"}))
    changed = Insight.objects.select_related("memory").get()
    assert (changed.insight_type, changed.collection, changed.quality) == ("pattern", "global", 0.9)
    assert (changed.topics, changed.projects) == (["locks", "tables"], ["shop", redact_project_name("payment-secrets")])
    assert changed.memory.content == "Migrations lock their tables."


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"insight_type": "rumour"}, "Select a valid choice"),
        ({"collection": "x\0"}, "Select a valid choice"),
        ({"topics": LONG_LABEL}, "at most 255"),
        ({"topics": ",".join(map(str, range(33)))}, "at most 32"),
        ({"projects": "a\0b"}, "NUL"),
        ({"projects": "\u200b"}, "blank"),
        ({"projects": ",".join(map(str, range(65)))}, "at most 64"),
        ({"quality": "1.01"}, "less than or equal to 1"),
        ({"quality": "inf"}, "Enter a number"),
        ({"quality": ""}, "required"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_insight_can_be_is_told(console, namespace, fields, words):
    row = create_insight(namespace)
    assert words in fetch_form_errors(console.post(get_page_url(row), build_insight_form(**fields)))
    assert Insight.objects.values().get() == Insight.objects.filter(pk=row.pk).values().get()
    assert Insight.objects.get().quality == 0.5


def test_an_insight_is_deleted_with_its_memory_after_an_honest_question(console, namespace):
    row = create_insight(namespace)
    create_insight(namespace, "Another one stays here.")
    text = fetch_page_text(console, get_page_url(row, "delete"))
    assert "goes with its memory" in text
    assert re.search(r"Memories.{0,80}\b1\b", text, re.DOTALL | re.IGNORECASE)
    assert console.post(get_page_url(row, "delete"), {"post": "yes"}).status_code == 302
    assert [each.content for each in Memory.objects.all()] == ["Another one stays here."]
    assert Insight.objects.count() == 1
    assert LogEntry.objects.get().object_repr == str(row.pk)


def test_several_are_deleted_at_once_and_only_those(console, namespace):
    rows = [create_insight(namespace, f"{word} " * 8) for word in WORDS[:3]]
    sent = {"action": "delete_selected", "_selected_action": [each.pk for each in rows[:2]]}
    assert "go with their memories" in console.post(LIST_URL, sent).content.decode()
    assert console.post(LIST_URL, sent | {"post": "yes"}).status_code == 302
    assert [each.pk for each in Memory.objects.all()] == [rows[2].pk]


def test_who_may_delete_no_memory_deletes_no_insight(client, django_user_model, namespace):
    row = create_insight(namespace)
    clerk = create_clerk(client, django_user_model, "view_insight", "delete_insight")
    assert clerk.post(get_page_url(row, "delete"), {"post": "yes"}).status_code == 403
    assert list_rows(clerk) == [row]
    assert clerk.post(get_page_url(row), build_insight_form()).status_code == 403
    assert Memory.objects.exists()


def test_nobody_adds_an_insight_by_hand(console):
    assert console.get(f"{LIST_URL}add/").status_code == 403


# At a glance


def parse_bar_svgs(response) -> list[ElementTree.Element]:
    """The pictures, which must be well-formed."""
    found = re.findall(r'<svg class="bars".*?</svg>', response.content.decode(), re.DOTALL)
    return [ElementTree.fromstring(each) for each in found]


def map_bar_links(svg: ElementTree.Element) -> dict[str, str]:
    """What each link is called, and where it leads."""
    return {link.findtext("title"): unescape(link.get("href")) for link in svg.iter("a")}


def test_a_glance_shows_totals_types_qualities_and_projects(console, namespace, elsewhere):
    create_insights(namespace, 0.1, 0.5, 0.95, projects=["shop", "billing"], confidence=0.5)
    create_insights(elsewhere, 1.0, insight_type="best_practice", usage_count=7, confidence=1.0)
    response = console.get(GLANCE_URL)
    cards = dict(response.context["cards"])
    assert cards["Insights"] == "4"
    assert (cards["Projects"], cards["Uses"], cards["Never used"]) == ("2", "7", "3")
    assert (cards["Average quality"], cards["Average confidence"]) == ("0.64", "0.62")
    types, qualities, projects = map(map_bar_links, parse_bar_svgs(response))
    assert "gotcha: 3 (low 1, middle 1, high 1)" in types
    assert "best practice: 1 (low 0, middle 0, high 1)" in types
    counted = [name.rsplit(": ", 1)[1] for name in qualities]
    assert counted == ["0", "1", "0", "0", "0", "1", "0", "0", "0", "2"]
    assert [name for name in projects if "(" in name] == [
        "billing: 3 (low 1, middle 1, high 1)", "shop: 3 (low 1, middle 1, high 1)",
    ]  # fmt: skip
    assert "1 insight names none." in response.content.decode()


def test_every_bar_leads_to_exactly_its_insights(console, namespace, elsewhere):
    create_insights(namespace, 0.0, 0.3, 0.4, 0.69, 0.7, 0.9, projects=["shop & co", SCRIPT_TAG])
    create_insights(namespace, 0.2, 1.0, insight_type="general", projects=["payment-secrets"])
    create_insights(elsewhere, 0.2, 0.6)
    for parameters in ({}, {"namespace": namespace.pk}):
        ways = [
            way for svg in parse_bar_svgs(console.get(GLANCE_URL, parameters)) for way in map_bar_links(svg).items()
        ]
        assert len(ways) > 15
        for name, address in ways:
            wanted = int(re.sub(r" \(.*\)$", "", name).rsplit(": ", 1)[1])
            assert len(list_rows(console, address)) == wanted, (name, address)


def test_a_glance_takes_one_statement_over_the_insights(console, namespace):
    with CaptureQueriesContext(connection) as none:
        console.get(GLANCE_URL)
    create_insights(namespace, *[n / 12 for n in range(12)], projects=WORDS)
    with CaptureQueriesContext(connection) as many:
        console.get(GLANCE_URL)
    assert len(many) == len(none)
    assert len([each for each in many if "insights_insight" in each["sql"]]) == 1


def test_a_glance_names_ten_projects_and_how_many_more_there_are(console, namespace):
    create_insights(namespace, 0.5, projects=WORDS)
    create_insights(namespace, 0.6, projects=WORDS[-1:])
    response = console.get(GLANCE_URL)
    projects = [name for name in map_bar_links(parse_bar_svgs(response)[2]) if "(" in name]
    assert len(projects) == 10
    assert projects[0].startswith(WORDS[-1])
    assert "2 more projects have fewer." in response.content.decode()


def test_a_glance_at_nothing_says_so(console, namespace, elsewhere):
    assert "There is no insight yet: " in fetch_page_text(console, GLANCE_URL)
    create_insight(namespace)
    assert "There is no insight yet in elsewhere: " in fetch_page_text(console, GLANCE_URL, namespace=elsewhere.pk)
    text = fetch_page_text(console, GLANCE_URL, namespace=namespace.pk)
    assert "No insight names a project." in text
    assert "There is no such namespace" in fetch_page_text(console, GLANCE_URL, namespace="999999")


def test_expired_insights_are_not_counted(console, namespace):
    create_insight(namespace)
    Memory.objects.update(expires_at=timezone.now())
    assert "There is no insight yet" in fetch_page_text(console, GLANCE_URL)


def test_pictures_are_told_to_who_cannot_see_them(console, namespace):
    create_insight(namespace, projects=[SCRIPT_TAG])
    response = console.get(GLANCE_URL)
    assert [svg.findtext("title") for svg in parse_bar_svgs(response)] == [
        "Insights by type", "Insights by quality", "Insights by project",
    ]  # fmt: skip
    assert SCRIPT_TAG not in response.content.decode()


def test_who_may_not_see_insights_sees_no_glance(client, django_user_model):
    assert create_clerk(client, django_user_model, "view_memory").get(GLANCE_URL).status_code == 403


# Projects


def build_group_form(space: Namespace, **fields: object) -> dict:
    whole = {"namespace": space.pk, "name": "Shop", "projects": "web, api, web", "description": "All of it."}
    return whole | {"metadata": '{"team": 1}'} | fields


def build_dependency_form(space: Namespace, **fields: object) -> dict:
    whole = {"namespace": space.pk, "source_project": "web", "target_project": "api", "type": "uses"}
    return whole | {"description": "For prices.", "metadata": "{}"} | fields


def test_a_group_is_made_and_changed(console, namespace):
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


def test_members_of_a_group_made_here_see_what_the_others_learned(console, namespace, api):
    assert_saved(console.post(f"{GROUPS_URL}add/", build_group_form(namespace, projects="web, payment-secrets")))
    assert_saved(console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace, target_project="api-keys")))
    create_insight(namespace, projects=["payment-secrets"])
    create_insight(namespace, "Migrations of keys lock no tables at all, ever.", projects=["api-keys"])
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
def test_what_no_group_can_be_is_told(console, namespace, fields, words):
    assert words in fetch_form_errors(console.post(f"{GROUPS_URL}add/", build_group_form(namespace, **fields)))
    assert not ProjectGroup.objects.exists()


def test_a_second_group_of_a_name_is_refused_with_a_way_to_the_first(console, namespace, elsewhere):
    first = ProjectGroup.objects.create(namespace=namespace, name="Shop", projects=["web"])
    other = ProjectGroup.objects.create(namespace=namespace, name="Store", projects=["web"])
    for path in (f"{GROUPS_URL}add/", f"{GROUPS_URL}{other.pk}/change/"):
        text = fetch_form_errors(console.post(path, build_group_form(namespace)))
        assert "of this name already" in text
        assert f"{GROUPS_URL}{first.pk}/change/" in text
    assert_saved(console.post(f"{GROUPS_URL}add/", build_group_form(elsewhere)))


def test_a_dependency_is_made_and_keeps_its_ends(console, namespace):
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
def test_what_no_dependency_can_be_is_told(console, namespace, fields, words):
    assert words in fetch_form_errors(
        console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace, **fields))
    )
    assert not ProjectDependency.objects.exists()


def test_the_same_dependency_again_is_refused(console, namespace):
    assert_saved(console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace)))
    assert "known already" in fetch_form_errors(
        console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace))
    )
    assert_saved(console.post(f"{DEPENDENCIES_URL}add/", build_dependency_form(namespace, type="extends")))


def test_groups_and_dependencies_are_narrowed_and_found(console, namespace, elsewhere):
    mine, there = {"namespace": namespace}, {"namespace": elsewhere}
    shop = ProjectGroup.objects.create(**mine, name="Shop", projects=["web", "api"])
    tea = ProjectGroup.objects.create(**there, name="Tea", projects=["tea"])
    uses = ProjectDependency.objects.create(**mine, source_project="web", target_project="api", type="uses")
    extends = ProjectDependency.objects.create(**there, source_project="tea", target_project="milk", type="extends")
    for path, ours, theirs in ((GROUPS_URL, shop, tea), (DEPENDENCIES_URL, uses, extends)):
        assert list_rows(console, path, namespace=namespace.pk) == list_rows(console, path, project="api") == [ours]
        assert list_rows(console, path, project="tea") == [theirs]
        assert list_rows(console, path, project="te") == []
    assert list_rows(console, GROUPS_URL, q="sho") == [shop]
    assert (
        list_rows(console, DEPENDENCIES_URL, q="mil")
        == list_rows(console, DEPENDENCIES_URL, type="extends")
        == [extends]
    )


@pytest.mark.parametrize("path", [GROUPS_URL, DEPENDENCIES_URL])
def test_their_lists_take_the_same_statements_for_one_and_for_many(console, namespace, path, django_assert_num_queries):
    def more(name: str) -> None:
        space = Namespace.objects.create(name=name)
        ProjectGroup.objects.create(namespace=space, name=name, projects=["web"])
        ProjectDependency.objects.create(namespace=space, source_project="web", target_project=name, type="uses")

    more("first")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        drawn(console, path)
    for number in range(4):
        more(f"n{number}")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        assert len(drawn(console, path)) == 5
