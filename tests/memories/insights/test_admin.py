"""The console's pages of insights: list, change form, deletion and dashboard."""

import json
import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memories.insights.admin.dashboard import Section
from memories.insights.models import Insight
from memories.insights.quality_levels import QualityLevel, get_quality_level
from memories.insights.redaction import redact_project_name
from memories.insights.storage import InsightDraft, save_insights
from memories.models import Memory
from sessions_app.models import Conversation, Namespace
from tests.console import (
    assert_saved,
    create_staff_user,
    fetch_form_errors,
    fetch_page_text,
    query_rows,
    render_rows,
)

pytestmark = pytest.mark.django_db
LIST_URL, DASHBOARD_URL = "/admin/insights/insight/", "/admin/insights/insight/glance/"
GROUPS_URL, DEPENDENCIES_URL = "/admin/insights/projectgroup/", "/admin/insights/projectdependency/"
MAX_LIST_STATEMENTS = 5  # session, user, saved filters, count, page
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


def list_rows(console, path: str = LIST_URL, **parameters: object) -> list:
    return query_rows(console, path, **parameters)


def build_insight_form(**fields: object) -> dict:
    form = {"insight_type": "gotcha", "collection": "project", "topics": "locks, tables", "projects": "shop"}
    return form | {"quality": "0.5"} | fields


# The list


def test_sidebar_links_to_every_page(console):
    page = fetch_page_text(console, "/admin/")
    assert all(f'href="{path}"' in page for path in (LIST_URL, DASHBOARD_URL, GROUPS_URL, DEPENDENCIES_URL))


def test_list_shows_insights_newest_first_with_their_columns(console, namespace):
    topics = ["postgres", "locks", "tables", "waiting"]
    first = create_insight(
        namespace, "Long ago somebody wrote this.", created_at=timezone.now() - timedelta(days=3, hours=2)
    )
    second = create_insight(namespace, topics=topics, projects=["shop", "billing"], quality=0.8, usage_count=1234)
    assert list_rows(console) == [second, first]
    text = fetch_page_text(console, LIST_URL)
    assert all(words in text for words in ("Migrations lock", "gotcha", "postgres, locks, tables +1", "shop, billing"))
    assert all(words in text for words in ("0.80", "0.75", "1\u202f234", "3 d ago<"))


def test_list_takes_the_same_statements_for_one_and_many(console, namespace, django_assert_num_queries):
    create_insight(namespace)
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        render_rows(console, LIST_URL)
    for number in range(5):
        create_insights(Namespace.objects.create(name=f"n{number}"), 0.1)
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        assert len(render_rows(console, LIST_URL)) == 6


def test_each_filter_and_search_narrows_the_list(console, namespace, elsewhere):
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


def test_redacted_project_is_found_by_its_true_name(console, namespace):
    row = create_insight(namespace, projects=["payment-secrets"])
    assert row.projects == [redact_project_name("payment-secrets")] != ["payment-secrets"]
    assert list_rows(console, project="payment-secrets") == [row]
    assert "payment-secrets" not in fetch_page_text(console, LIST_URL)


@pytest.mark.parametrize(("quality", "level"), [(0, "low"), (0.39, "low"), (0.4, "middle"), (0.7, "high"), (1, "high")])
def test_quality_level_is_the_one_of_the_filter(console, namespace, quality, level):
    row = create_insight(namespace, quality=quality)
    assert get_quality_level(quality) == QualityLevel(level)
    assert [each for each in QualityLevel if list_rows(console, quality=each) == [row]] == [level]
    assert [n for n in range(10) if list_rows(console, quality=str(n)) == [row]] == [min(int(quality * 10), 9)]


@pytest.mark.parametrize("query", ["a\0b", SCRIPT_TAG, "x" * 5000, "\\", "%s", "the", '"', "-"])
def test_hostile_queries_break_no_page(console, namespace, query):
    create_insight(namespace)
    for path in (LIST_URL, GROUPS_URL, DEPENDENCIES_URL, DASHBOARD_URL):
        assert SCRIPT_TAG not in fetch_page_text(console, path, q=query)
        for name in ("namespace", "project", "quality", "use", "insight_type", "collection", "type"):
            assert console.get(path, {name: query}).status_code in (200, 302, 400)


def test_unknown_lookups_in_the_url_are_refused(console):
    for path in (LIST_URL, GROUPS_URL, DEPENDENCIES_URL):
        assert console.get(path, {"metadata__contains": "x", "memory__content__regex": "(a+)+$"}).status_code in (
            302,
            400,
        )


def test_empty_lists_explain_how_they_fill(console, namespace):
    assert "Agents add insights" in fetch_page_text(console, LIST_URL)
    assert "No insight matches." in fetch_page_text(console, LIST_URL, q="nothing")
    assert "The projects of a group see" in fetch_page_text(console, GROUPS_URL)
    assert "Two projects, one of which depends on the other" in fetch_page_text(console, DEPENDENCIES_URL)


def test_expired_insights_are_not_shown(console, namespace):
    row = create_insight(namespace)
    Memory.objects.update(expires_at=timezone.now())
    assert list_rows(console) == []
    assert console.get(get_page_url(row)).status_code == 302


# One insight's page


def test_insight_page_shows_the_text_and_links_to_its_origin(console, namespace):
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


def test_insight_can_be_changed_but_not_its_text(console, namespace):
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
def test_invalid_insights_are_refused_with_a_reason(console, namespace, fields, words):
    row = create_insight(namespace)
    assert words in fetch_form_errors(console.post(get_page_url(row), build_insight_form(**fields)))
    assert Insight.objects.values().get() == Insight.objects.filter(pk=row.pk).values().get()
    assert Insight.objects.get().quality == 0.5


def test_deleting_an_insight_asks_and_deletes_its_memory(console, namespace):
    row = create_insight(namespace)
    create_insight(namespace, "Another one stays here.")
    text = fetch_page_text(console, get_page_url(row, "delete"))
    assert "deleted together with its memory" in text
    assert re.search(r"Memories.{0,80}\b1\b", text, re.DOTALL | re.IGNORECASE)
    assert console.post(get_page_url(row, "delete"), {"post": "yes"}).status_code == 302
    assert [each.content for each in Memory.objects.all()] == ["Another one stays here."]
    assert Insight.objects.count() == 1
    assert LogEntry.objects.get().object_repr == str(row.pk)


def test_bulk_delete_deletes_only_the_selected(console, namespace):
    rows = [create_insight(namespace, f"{word} " * 8) for word in WORDS[:3]]
    sent = {"action": "delete_selected", "_selected_action": [each.pk for each in rows[:2]]}
    assert "deleted together with their memories" in console.post(LIST_URL, sent).content.decode()
    assert console.post(LIST_URL, sent | {"post": "yes"}).status_code == 302
    assert [each.pk for each in Memory.objects.all()] == [rows[2].pk]


def test_deleting_an_insight_needs_permission_to_delete_memories(client, django_user_model, namespace):
    row = create_insight(namespace)
    staff = create_staff_user(client, django_user_model, "view_insight", "delete_insight")
    assert staff.post(get_page_url(row, "delete"), {"post": "yes"}).status_code == 403
    assert list_rows(staff) == [row]
    assert staff.post(get_page_url(row), build_insight_form()).status_code == 403
    assert Memory.objects.exists()


def test_insights_cannot_be_added_in_the_console(console):
    assert console.get(f"{LIST_URL}add/").status_code == 403


# The dashboard


def map_links(section: Section) -> dict[str, str]:
    """Return the addresses of a table's links by their titles."""
    cells = "".join(str(cell) for row in section.table["rows"] for cell in row)
    return {
        unescape(title): unescape(address)
        for address, title in re.findall(r'<a href="([^"]*)" class="insight-count" title="([^"]*)">', cells)
    }


def parse_charts(response) -> list[dict]:
    """Return the data of the page's charts."""
    values = re.findall(r'<canvas class="chart"[^>]* data-value="([^"]*)"', response.content.decode())
    return [json.loads(unescape(value)) for value in values]


def test_dashboard_shows_totals_types_qualities_and_projects(console, namespace, elsewhere):
    create_insights(namespace, 0.1, 0.5, 0.95, projects=["shop", "billing"], confidence=0.5)
    create_insights(elsewhere, 1.0, insight_type="best_practice", usage_count=7, confidence=1.0)
    response = console.get(DASHBOARD_URL)
    cards = dict(response.context["cards"])
    assert cards["Insights"] == "4"
    assert (cards["Projects"], cards["Uses"], cards["Never used"]) == ("2", "7", "3")
    assert (cards["Average quality"], cards["Average confidence"]) == ("0.64", "0.62")
    types, projects = (map_links(response.context[name]) for name in ("types", "projects"))
    assert "gotcha: 3 (low 1, middle 1, high 1)" in types
    assert "best practice: 1 (low 0, middle 0, high 1)" in types
    counted = [re.sub("<[^>]*>", "", str(row[-1])) for row in response.context["qualities"].table["rows"]]
    assert counted == ["0", "1", "0", "0", "0", "1", "0", "0", "0", "2"]
    assert [name for name in projects if "(" in name] == [
        "billing: 3 (low 1, middle 1, high 1)", "shop: 3 (low 1, middle 1, high 1)",
    ]  # fmt: skip
    assert "1 insight names none." in response.content.decode()


def test_charts_show_the_counts_of_the_tables(console, namespace):
    create_insights(namespace, 0.1, 0.5, 0.95, projects=["shop"])
    create_insights(namespace, 1.0, insight_type="best_practice")
    types, qualities, projects = parse_charts(console.get(DASHBOARD_URL))
    assert (types["labels"], projects["labels"]) == (["gotcha", "best practice"], ["shop"])
    assert {each["label"]: each["data"] for each in types["datasets"]} == {
        "low": [1, 0], "middle": [1, 0], "high": [1, 1],
    }  # fmt: skip
    assert {each["label"]: each["data"] for each in projects["datasets"]} == {"low": [1], "middle": [1], "high": [1]}
    assert [each["data"] for each in qualities["datasets"]] == [[0, 1, 0, 0, 0, 1, 0, 0, 0, 2]]


def test_every_link_leads_to_exactly_its_insights(console, namespace, elsewhere):
    create_insights(namespace, 0.0, 0.3, 0.4, 0.69, 0.7, 0.9, projects=["shop & co", SCRIPT_TAG])
    create_insights(namespace, 0.2, 1.0, insight_type="general", projects=["payment-secrets"])
    create_insights(elsewhere, 0.2, 0.6)
    for parameters in ({}, {"namespace": namespace.pk}):
        context = console.get(DASHBOARD_URL, parameters).context
        links = [link for name in ("types", "qualities", "projects") for link in map_links(context[name]).items()]
        assert len(links) > 15
        for name, address in links:
            expected = int(re.sub(r" \(.*\)$", "", name).rsplit(": ", 1)[1])
            assert len(list_rows(console, address)) == expected, (name, address)
        by_level = [len(list_rows(console, address)) for _, _, address in context["levels"]]
        assert sum(by_level) == context["total"]


def test_dashboard_takes_one_statement_over_the_insights(console, namespace):
    with CaptureQueriesContext(connection) as none:
        console.get(DASHBOARD_URL)
    create_insights(namespace, *[n / 12 for n in range(12)], projects=WORDS)
    with CaptureQueriesContext(connection) as many:
        console.get(DASHBOARD_URL)
    assert len(many) == len(none)
    assert len([each for each in many if "insights_insight" in each["sql"]]) == 1


def test_dashboard_shows_ten_projects_and_how_many_more_there_are(console, namespace):
    create_insights(namespace, 0.5, projects=WORDS)
    create_insights(namespace, 0.6, projects=WORDS[-1:])
    response = console.get(DASHBOARD_URL)
    projects = [name for name in map_links(response.context["projects"]) if "(" in name]
    assert len(projects) == 10
    assert projects[0].startswith(WORDS[-1])
    assert "2 more projects have fewer." in response.content.decode()


def test_empty_dashboard_says_so(console, namespace, elsewhere):
    assert "There is no insight yet: " in fetch_page_text(console, DASHBOARD_URL)
    create_insight(namespace)
    assert "There is no insight yet in elsewhere: " in fetch_page_text(console, DASHBOARD_URL, namespace=elsewhere.pk)
    text = fetch_page_text(console, DASHBOARD_URL, namespace=namespace.pk)
    assert "No insight names a project." in text
    assert "There is no such namespace" in fetch_page_text(console, DASHBOARD_URL, namespace="999999")


def test_expired_insights_are_not_counted(console, namespace):
    create_insight(namespace)
    Memory.objects.update(expires_at=timezone.now())
    assert "There is no insight yet" in fetch_page_text(console, DASHBOARD_URL)


def test_each_chart_has_a_title_and_a_table_of_its_counts(console, namespace):
    create_insight(namespace, projects=[SCRIPT_TAG])
    response = console.get(DASHBOARD_URL)
    page, sections = response.content.decode(), [response.context[name] for name in ("types", "qualities", "projects")]
    assert [each.title for each in sections] == ["By type", "By quality", "By project"]
    assert len(parse_charts(response)) == page.count("<table") == 3
    assert all(each.title in page and map_links(each) for each in sections)
    assert SCRIPT_TAG not in page


def test_dashboard_needs_permission_to_view_insights(client, django_user_model):
    assert create_staff_user(client, django_user_model, "view_memory").get(DASHBOARD_URL).status_code == 403
