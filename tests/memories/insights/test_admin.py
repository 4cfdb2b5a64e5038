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
from memories.insights.quality_levels import Level, level_of
from memories.insights.redaction import masked
from memories.insights.storage import InsightDraft, keep
from memories.models import Memory
from sessions_app.models import Conversation, Namespace
from tests.memories.projects.projects import seen_from

pytestmark = pytest.mark.django_db
LIST, GLANCE = "/admin/insights/insight/", "/admin/insights/insight/glance/"
GROUPS, DEPENDENCIES = "/admin/insights/projectgroup/", "/admin/insights/projectdependency/"
LIST_STATEMENTS = 4  # session, user, count, page
SCRIPT = "<script>alert(1)</script>"
LONG = "x" * 256
WORDS = ["harbour", "lighthouse", "anchor", "tide", "ferry", "captain", "storm", "rope", "deck", "mast", "sail", "crew"]


def learn(namespace: Namespace, text: str = "Migrations lock their tables.", **fields: object) -> Insight:
    fields = {"insight_type": "gotcha", "quality": 0.5, "confidence": 0.75} | fields
    [(pk, _)] = keep(namespace.pk, [InsightDraft(text, **fields)])
    return Insight.objects.get(pk=pk)


def learn_many(namespace: Namespace, *qualities: float, **fields: object) -> None:
    """Insights of these qualities that are not alike."""
    for number, quality in enumerate(qualities):
        word = WORDS[number % len(WORDS)]
        learn(namespace, f"{quality} {number} " + f"{word} {number} " * 8 + str(fields), quality=quality, **fields)


def page_of(row: Insight, what: str = "change") -> str:
    return f"{LIST}{row.pk}/{what}/"


def text_of(console, path: str, **parameters: object) -> str:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.content.decode()


def shown(console, path: str = LIST, **parameters: object) -> list:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return list(response.context["cl"].result_list)


def said(response) -> str:
    """What a form that was not kept says."""
    assert response.status_code == 200, (response.status_code, response.content[:300])
    assert response.context["adminform"].form.errors
    return str(response.context["adminform"].form.errors)


def kept(response) -> None:
    errors = response.context and response.context["adminform"].form.errors
    assert response.status_code == 302, (response.status_code, errors)


def clerk_of(client, django_user_model, *permissions: str):
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(clerk)
    return client


def told(**fields: object) -> dict:
    whole = {"insight_type": "gotcha", "collection": "project", "topics": "locks, tables", "projects": "shop"}
    return whole | {"quality": "0.5"} | fields


# The list


def test_the_side_bar_leads_to_every_page(console):
    page = text_of(console, "/admin/")
    assert all(f'href="{path}"' in page for path in (LIST, GLANCE, GROUPS, DEPENDENCIES))


def test_insights_are_listed_newest_first_with_what_they_say_besides(console, namespace):
    topics = ["postgres", "locks", "tables", "waiting"]
    first = learn(namespace, "Long ago somebody wrote this.", created_at=timezone.now() - timedelta(days=3, hours=2))
    second = learn(namespace, topics=topics, projects=["shop", "billing"], quality=0.8, usage_count=1234)
    assert shown(console) == [second, first]
    text = text_of(console, LIST)
    assert all(words in text for words in ("Migrations lock", "gotcha", "postgres, locks, tables +1", "shop, billing"))
    assert all(words in text for words in ("0.80", "0.75", "1\u202f234", "3 d<"))


def test_the_list_takes_the_same_statements_for_one_and_for_many(console, namespace, django_assert_num_queries):
    learn(namespace)
    with django_assert_num_queries(LIST_STATEMENTS):
        shown(console)
    for number in range(5):
        learn_many(Namespace.objects.create(name=f"n{number}"), 0.1)
    with django_assert_num_queries(LIST_STATEMENTS):
        assert len(shown(console)) == 6


def test_insights_are_narrowed(console, namespace, elsewhere):
    ours = learn(namespace, projects=["shop"], quality=0.39)
    theirs = learn(
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
        assert shown(console, **parameters) == [ours], parameters
    assert shown(console, use="used") == shown(console, quality="high") == shown(console, quality="7") == [theirs]
    assert shown(console, quality="middle") == shown(console, quality="4") == shown(console, project="sho") == []
    assert shown(console, q="migration tea") == []
    assert len(shown(console, quality="10", use="x", insight_type="x", collection="x")) == 2


def test_a_project_with_a_secret_name_is_found_by_its_true_name(console, namespace):
    row = learn(namespace, projects=["payment-secrets"])
    assert row.projects == [masked("payment-secrets")] != ["payment-secrets"]
    assert shown(console, project="payment-secrets") == [row]
    assert "payment-secrets" not in text_of(console, LIST)


@pytest.mark.parametrize(("quality", "level"), [(0, "low"), (0.39, "low"), (0.4, "middle"), (0.7, "high"), (1, "high")])
def test_an_insight_has_the_level_by_which_it_is_found(console, namespace, quality, level):
    row = learn(namespace, quality=quality)
    assert level_of(quality) == Level(level)
    assert [each for each in Level if shown(console, quality=each) == [row]] == [level]
    assert [n for n in range(10) if shown(console, quality=str(n)) == [row]] == [min(int(quality * 10), 9)]


@pytest.mark.parametrize("query", ["a\0b", SCRIPT, "x" * 5000, "\\", "%s", "the", '"', "-"])
def test_no_query_breaks_a_page(console, namespace, query):
    learn(namespace)
    for path in (LIST, GROUPS, DEPENDENCIES, GLANCE):
        assert SCRIPT not in text_of(console, path, q=query)
        for name in ("namespace", "project", "quality", "use", "insight_type", "collection", "type"):
            assert console.get(path, {name: query}).status_code in (200, 302, 400)


def test_no_other_condition_can_be_put_into_the_address(console):
    for path in (LIST, GROUPS, DEPENDENCIES):
        assert console.get(path, {"metadata__contains": "x", "memory__content__regex": "(a+)+$"}).status_code in (
            302,
            400,
        )


def test_empty_lists_say_how_they_fill(console, namespace):
    assert "There is no insight yet." in text_of(console, LIST)
    assert "No insight is like this." in text_of(console, LIST, q="nothing")
    assert "There is no group yet." in text_of(console, GROUPS)
    assert "There is no dependency yet." in text_of(console, DEPENDENCIES)


def test_what_has_expired_is_not_shown(console, namespace):
    row = learn(namespace)
    Memory.objects.update(expires_at=timezone.now())
    assert shown(console) == []
    assert console.get(page_of(row)).status_code == 302


# One insight's page


def test_an_insights_page_shows_its_text_and_leads_to_where_it_comes_from(console, namespace):
    source = Memory.objects.create(namespace=namespace, content="the whole story", source_system="test")
    talk = Conversation.objects.create(namespace=namespace, summary="About locks")
    row = learn(namespace, f"First line.\n\n{SCRIPT} and more", source_memory_id=source.pk, conversation_id=talk.pk)
    text = text_of(console, page_of(row))
    assert f"/admin/memories/memory/{row.pk}/change/" in text
    assert all(words in text for words in (f"/admin/memories/memory/{source.pk}/change/", "the whole story"))
    assert all(words in text for words in (f"/admin/sessions_app/conversation/{talk.pk}/change/", "About locks"))
    assert "First line.\n\n&lt;script&gt;" in text
    assert SCRIPT not in text


def test_an_insight_is_changed_and_its_text_is_not(console, namespace):
    row = learn(namespace)
    sent = told(insight_type="pattern", collection="global", quality="0.9", projects="shop, shop, payment-secrets")
    kept(console.post(page_of(row), sent | {"text": "other", "content": "other"}))
    changed = Insight.objects.select_related("memory").get()
    assert (changed.insight_type, changed.collection, changed.quality) == ("pattern", "global", 0.9)
    assert (changed.topics, changed.projects) == (["locks", "tables"], ["shop", masked("payment-secrets")])
    assert changed.memory.content == "Migrations lock their tables."


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"insight_type": "rumour"}, "Select a valid choice"),
        ({"collection": "x\0"}, "Select a valid choice"),
        ({"topics": LONG}, "at most 255"),
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
    row = learn(namespace)
    assert words in said(console.post(page_of(row), told(**fields)))
    assert Insight.objects.values().get() == Insight.objects.filter(pk=row.pk).values().get()
    assert Insight.objects.get().quality == 0.5


def test_an_insight_is_deleted_with_its_memory_after_an_honest_question(console, namespace):
    row = learn(namespace)
    learn(namespace, "Another one stays here.")
    text = text_of(console, page_of(row, "delete"))
    assert "goes with its memory" in text
    assert re.search(r"Memories.{0,80}\b1\b", text, re.DOTALL | re.IGNORECASE)
    assert console.post(page_of(row, "delete"), {"post": "yes"}).status_code == 302
    assert [each.content for each in Memory.objects.all()] == ["Another one stays here."]
    assert Insight.objects.count() == 1
    assert LogEntry.objects.get().object_repr == str(row.pk)


def test_several_are_deleted_at_once_and_only_those(console, namespace):
    rows = [learn(namespace, f"{word} " * 8) for word in WORDS[:3]]
    sent = {"action": "delete_selected", "_selected_action": [each.pk for each in rows[:2]]}
    assert "go with their memories" in console.post(LIST, sent).content.decode()
    assert console.post(LIST, sent | {"post": "yes"}).status_code == 302
    assert [each.pk for each in Memory.objects.all()] == [rows[2].pk]


def test_who_may_delete_no_memory_deletes_no_insight(client, django_user_model, namespace):
    row = learn(namespace)
    clerk = clerk_of(client, django_user_model, "view_insight", "delete_insight")
    assert clerk.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403
    assert shown(clerk) == [row]
    assert clerk.post(page_of(row), told()).status_code == 403
    assert Memory.objects.exists()


def test_nobody_adds_an_insight_by_hand(console):
    assert console.get(f"{LIST}add/").status_code == 403


# At a glance


def drawings(response) -> list[ElementTree.Element]:
    """The pictures, which must be well-formed."""
    found = re.findall(r'<svg class="bars".*?</svg>', response.content.decode(), re.DOTALL)
    return [ElementTree.fromstring(each) for each in found]


def bars(svg: ElementTree.Element) -> dict[str, str]:
    """What each link is called, and where it leads."""
    return {link.findtext("title"): unescape(link.get("href")) for link in svg.iter("a")}


def test_a_glance_shows_totals_types_qualities_and_projects(console, namespace, elsewhere):
    learn_many(namespace, 0.1, 0.5, 0.95, projects=["shop", "billing"], confidence=0.5)
    learn_many(elsewhere, 1.0, insight_type="best_practice", usage_count=7, confidence=1.0)
    response = console.get(GLANCE)
    cards = dict(response.context["cards"])
    assert cards["Insights"] == "4"
    assert (cards["Projects"], cards["Uses"], cards["Never used"]) == ("2", "7", "3")
    assert (cards["Average quality"], cards["Average confidence"]) == ("0.64", "0.62")
    types, qualities, projects = map(bars, drawings(response))
    assert "gotcha: 3 (low 1, middle 1, high 1)" in types
    assert "best practice: 1 (low 0, middle 0, high 1)" in types
    counted = [name.rsplit(": ", 1)[1] for name in qualities]
    assert counted == ["0", "1", "0", "0", "0", "1", "0", "0", "0", "2"]
    assert [name for name in projects if "(" in name] == [
        "billing: 3 (low 1, middle 1, high 1)", "shop: 3 (low 1, middle 1, high 1)",
    ]  # fmt: skip
    assert "1 insight names none." in response.content.decode()


def test_every_bar_leads_to_exactly_its_insights(console, namespace, elsewhere):
    learn_many(namespace, 0.0, 0.3, 0.4, 0.69, 0.7, 0.9, projects=["shop & co", SCRIPT])
    learn_many(namespace, 0.2, 1.0, insight_type="general", projects=["payment-secrets"])
    learn_many(elsewhere, 0.2, 0.6)
    for parameters in ({}, {"namespace": namespace.pk}):
        ways = [way for svg in drawings(console.get(GLANCE, parameters)) for way in bars(svg).items()]
        assert len(ways) > 15
        for name, address in ways:
            wanted = int(re.sub(r" \(.*\)$", "", name).rsplit(": ", 1)[1])
            assert len(shown(console, address)) == wanted, (name, address)


def test_a_glance_takes_one_statement_over_the_insights(console, namespace):
    with CaptureQueriesContext(connection) as none:
        console.get(GLANCE)
    learn_many(namespace, *[n / 12 for n in range(12)], projects=WORDS)
    with CaptureQueriesContext(connection) as many:
        console.get(GLANCE)
    assert len(many) == len(none)
    assert len([each for each in many if "insights_insight" in each["sql"]]) == 1


def test_a_glance_names_ten_projects_and_how_many_more_there_are(console, namespace):
    learn_many(namespace, 0.5, projects=WORDS)
    learn_many(namespace, 0.6, projects=WORDS[-1:])
    response = console.get(GLANCE)
    projects = [name for name in bars(drawings(response)[2]) if "(" in name]
    assert len(projects) == 10
    assert projects[0].startswith(WORDS[-1])
    assert "2 more projects have fewer." in response.content.decode()


def test_a_glance_at_nothing_says_so(console, namespace, elsewhere):
    assert "There is no insight yet: " in text_of(console, GLANCE)
    learn(namespace)
    assert "There is no insight yet in elsewhere: " in text_of(console, GLANCE, namespace=elsewhere.pk)
    text = text_of(console, GLANCE, namespace=namespace.pk)
    assert "No insight names a project." in text
    assert "There is no such namespace" in text_of(console, GLANCE, namespace="999999")


def test_expired_insights_are_not_counted(console, namespace):
    learn(namespace)
    Memory.objects.update(expires_at=timezone.now())
    assert "There is no insight yet" in text_of(console, GLANCE)


def test_pictures_are_told_to_who_cannot_see_them(console, namespace):
    learn(namespace, projects=[SCRIPT])
    response = console.get(GLANCE)
    assert [svg.findtext("title") for svg in drawings(response)] == [
        "Insights by type", "Insights by quality", "Insights by project",
    ]  # fmt: skip
    assert SCRIPT not in response.content.decode()


def test_who_may_not_see_insights_sees_no_glance(client, django_user_model):
    assert clerk_of(client, django_user_model, "view_memory").get(GLANCE).status_code == 403


# Projects


def told_group(space: Namespace, **fields: object) -> dict:
    whole = {"namespace": space.pk, "name": "Shop", "projects": "web, api, web", "description": "All of it."}
    return whole | {"metadata": '{"team": 1}'} | fields


def told_dependency(space: Namespace, **fields: object) -> dict:
    whole = {"namespace": space.pk, "source_project": "web", "target_project": "api", "type": "uses"}
    return whole | {"description": "For prices.", "metadata": "{}"} | fields


def test_a_group_is_made_and_changed(console, namespace):
    kept(console.post(f"{GROUPS}add/", told_group(namespace)))
    row = ProjectGroup.objects.get()
    assert (row.namespace, row.name, row.projects, row.metadata) == (namespace, "Shop", ["web", "api"], {"team": 1})
    assert all(words in text_of(console, GROUPS) for words in ("Shop", "web, api", "All of it.", "ours"))
    kept(console.post(f"{GROUPS}{row.pk}/change/", told_group(namespace, name="Store", projects="web", description="")))
    changed = ProjectGroup.objects.get()
    assert (changed.name, changed.projects, changed.description) == ("Store", ["web"], "")
    assert changed.updated_at > row.updated_at


def test_members_of_a_group_made_here_see_what_the_others_learned(console, namespace, api):
    kept(console.post(f"{GROUPS}add/", told_group(namespace, projects="web, payment-secrets")))
    kept(console.post(f"{DEPENDENCIES}add/", told_dependency(namespace, target_project="api-keys")))
    learn(namespace, projects=["payment-secrets"])
    learn(namespace, "Migrations of keys lock no tables at all, ever.", projects=["api-keys"])
    assert len(seen_from(api, "web", "migrations", mode="text")) == 2
    row = ProjectGroup.objects.get()
    kept(console.post(f"{GROUPS}{row.pk}/change/", told_group(namespace, projects="web, other")))
    assert len(seen_from(api, "web", "migrations", mode="text")) == 1


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
        ({"projects": LONG}, "at most 255"),
        ({"projects": "a\0"}, "NUL"),
        ({"projects": ",".join(map(str, range(1001)))}, "at most 1000"),
        ({"description": "x" * 10_001}, "at most 10000"),
        ({"metadata": "[]"}, "Must be an object"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_group_can_be_is_told(console, namespace, fields, words):
    assert words in said(console.post(f"{GROUPS}add/", told_group(namespace, **fields)))
    assert not ProjectGroup.objects.exists()


def test_a_second_group_of_a_name_is_refused_with_a_way_to_the_first(console, namespace, elsewhere):
    first = ProjectGroup.objects.create(namespace=namespace, name="Shop", projects=["web"])
    other = ProjectGroup.objects.create(namespace=namespace, name="Store", projects=["web"])
    for path in (f"{GROUPS}add/", f"{GROUPS}{other.pk}/change/"):
        text = said(console.post(path, told_group(namespace)))
        assert "of this name already" in text
        assert f"{GROUPS}{first.pk}/change/" in text
    kept(console.post(f"{GROUPS}add/", told_group(elsewhere)))


def test_a_dependency_is_made_and_keeps_its_ends(console, namespace):
    kept(console.post(f"{DEPENDENCIES}add/", told_dependency(namespace)))
    row = ProjectDependency.objects.get()
    assert (row.source_project, row.target_project, row.type, row.namespace) == ("web", "api", "uses", namespace)
    sent = told_dependency(namespace, target_project="other", description="", metadata='{"a": 1}')
    kept(console.post(f"{DEPENDENCIES}{row.pk}/change/", sent))
    changed = ProjectDependency.objects.get()
    assert (changed.target_project, changed.description, changed.metadata) == ("api", "", {"a": 1})
    assert changed.updated_at > row.updated_at


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"namespace": ""}, "required"),
        ({"target_project": "web"}, "A project cannot depend on itself."),
        ({"target_project": ""}, "required"),
        ({"source_project": LONG}, "at most 255"),
        ({"source_project": "\u3164"}, "blank"),
        ({"source_project": "a\0"}, "Null characters"),
        ({"type": "likes"}, "Select a valid choice"),
        ({"metadata": "{"}, "valid JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_dependency_can_be_is_told(console, namespace, fields, words):
    assert words in said(console.post(f"{DEPENDENCIES}add/", told_dependency(namespace, **fields)))
    assert not ProjectDependency.objects.exists()


def test_the_same_dependency_again_is_refused(console, namespace):
    kept(console.post(f"{DEPENDENCIES}add/", told_dependency(namespace)))
    assert "known already" in said(console.post(f"{DEPENDENCIES}add/", told_dependency(namespace)))
    kept(console.post(f"{DEPENDENCIES}add/", told_dependency(namespace, type="extends")))


def test_groups_and_dependencies_are_narrowed_and_found(console, namespace, elsewhere):
    mine, there = {"namespace": namespace}, {"namespace": elsewhere}
    shop = ProjectGroup.objects.create(**mine, name="Shop", projects=["web", "api"])
    tea = ProjectGroup.objects.create(**there, name="Tea", projects=["tea"])
    uses = ProjectDependency.objects.create(**mine, source_project="web", target_project="api", type="uses")
    extends = ProjectDependency.objects.create(**there, source_project="tea", target_project="milk", type="extends")
    for path, ours, theirs in ((GROUPS, shop, tea), (DEPENDENCIES, uses, extends)):
        assert shown(console, path, namespace=namespace.pk) == shown(console, path, project="api") == [ours]
        assert shown(console, path, project="tea") == [theirs]
        assert shown(console, path, project="te") == []
    assert shown(console, GROUPS, q="sho") == [shop]
    assert shown(console, DEPENDENCIES, q="mil") == shown(console, DEPENDENCIES, type="extends") == [extends]


@pytest.mark.parametrize("path", [GROUPS, DEPENDENCIES])
def test_their_lists_take_the_same_statements_for_one_and_for_many(console, namespace, path, django_assert_num_queries):
    def more(name: str) -> None:
        space = Namespace.objects.create(name=name)
        ProjectGroup.objects.create(namespace=space, name=name, projects=["web"])
        ProjectDependency.objects.create(namespace=space, source_project="web", target_project=name, type="uses")

    more("first")
    with django_assert_num_queries(LIST_STATEMENTS):
        shown(console, path)
    for number in range(4):
        more(f"n{number}")
    with django_assert_num_queries(LIST_STATEMENTS):
        assert len(shown(console, path)) == 5
