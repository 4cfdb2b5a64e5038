"""Insights taken out of what is stored, in the transaction that stores it."""

import json
from functools import partial

import pytest

from ingestion.tasks import ingest_due
from memories.insights import capture
from memories.insights.models import Insight
from memories.insights.redaction import redact_project_name
from memories.insights.tasks import adopt_insights
from memories.models import Memory
from memories.types import MemoryType
from tests.memories.insights.lessons import LAZY_LESSON, SIMILAR_LAZY_LESSON, VACUUM_LESSON, get_insight, mark_insights
from tests.wire import fingerprint_tables, is_problem, run_at_once

pytestmark = pytest.mark.django_db
TWO_INSIGHTS = mark_insights(LAZY_LESSON, VACUUM_LESSON)
MEMORY_LABELS = {
    "user_id": "ada",
    "agent_id": "writer",
    "session_id": "monday",
    "workflow_id": "letters",
    "repo_id": "shop",
}


def load_insights() -> set[str]:
    return set(Insight.objects.values_list("memory__content", flat=True))


# By every way


def test_a_memory_brings_its_insights(api):
    memory = api.add(TWO_INSIGHTS)
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}
    assert memory["memory_type"] == "agent"
    assert memory["content"] == TWO_INSIGHTS
    assert set(memory["insights"]) == {str(each.pk) for each in Insight.objects.all()}


def test_memories_in_bulk_bring_theirs(api):
    told = api.post(
        "/memories/bulk",
        {
            "memories": [
                {"content": TWO_INSIGHTS},
                {"content": "plain"},
                {"content": mark_insights(SIMILAR_LAZY_LESSON)},
            ]
        },
    )
    assert told.json()["created"] == 3
    assert list(Memory.objects.filter(pk__in=told.json()["ids"][1:2]).values_list("content", flat=True)) == ["plain"]
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}


def test_a_new_content_brings_its_own(api):
    memory = api.add("nothing yet")
    api.patch(f"/memories/{memory['id']}", {"content": mark_insights(LAZY_LESSON)})
    assert load_insights() == {LAZY_LESSON}
    assert str(get_insight().source_memory_id) == memory["id"]
    api.patch(f"/memories/{memory['id']}", {"importance": 5})
    api.patch(f"/memories/{memory['id']}", {"content": "nothing any more"})
    assert load_insights() == {LAZY_LESSON}


def test_a_remembered_message_brings_its_own(api):
    talk = api.post("/conversations", {"user_id": "ada", "session_id": "monday"}).json()
    said = {"role": "assistant", "content": TWO_INSIGHTS, "agent_id": "writer", "remember": True}
    message = api.post(f"/conversations/{talk['id']}/messages", said).json()
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}
    assert set(message["insights"]) == {str(each.pk) for each in Insight.objects.all()}
    for each in Insight.objects.select_related("memory"):
        assert (str(each.conversation_id), str(each.source_memory_id)) == (talk["id"], message["memory_id"])
        assert (each.memory.user_id, each.memory.session_id, each.memory.agent_id) == ("ada", "monday", "writer")


def test_a_message_that_is_not_remembered_brings_none(api):
    talk = api.post("/conversations", {}).json()
    api.post(f"/conversations/{talk['id']}/messages", {"role": "assistant", "content": TWO_INSIGHTS})
    assert load_insights() == set()


def test_a_tools_result_brings_its_own(api):
    assert (
        api.post("/tool-results", {"tool": "reviewer", "agent_id": "writer", "result": TWO_INSIGHTS}).status_code == 201
    )
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}


def test_chunks_of_documents_bring_none(api):
    api.post("/documents", {"content": TWO_INSIGHTS, "title": "text"})
    ingest_due()
    assert Memory.objects.filter(memory_type="rag").exists()
    assert load_insights() == set()


def test_it_has_the_labels_of_its_source_and_its_project(api):
    memory = api.add(mark_insights(LAZY_LESSON), **MEMORY_LABELS)
    insight = get_insight()
    kept = insight.memory
    assert {name: getattr(kept, name) for name in MEMORY_LABELS} == MEMORY_LABELS
    assert (insight.projects, insight.collection, str(insight.source_memory_id)) == (["shop"], "project", memory["id"])
    assert (kept.memory_type, kept.source_system) == ("insight", "insights")


def test_history_brings_insights_of_its_time(api):
    api.add(mark_insights(LAZY_LESSON), created_at="2020-01-01T00:00:00Z")
    assert get_insight().memory.created_at.year == 2020


def test_a_secret_repository_is_masked(api):
    api.add(mark_insights(LAZY_LESSON), repo_id="secret-plans")
    assert get_insight().projects == [redact_project_name("secret-plans")]
    assert get_insight().memory.repo_id == redact_project_name("secret-plans")


@pytest.mark.parametrize("named", ["nonsense", 7, None, "00000000-0000-4000-8000-000000000000", ["x"], {"a": 1}])
def test_metadata_that_name_no_conversation_name_none(api, named):
    api.add(mark_insights(LAZY_LESSON), metadata={"conversation_id": named})
    assert get_insight().conversation_id is None


def test_metadata_cannot_name_somebody_elses_conversation(api, outsider):
    theirs = outsider.post("/conversations", {}).json()["id"]
    api.add(mark_insights(LAZY_LESSON), metadata={"conversation_id": theirs})
    assert get_insight().conversation_id is None


# Again


def test_two_at_a_checkpoint_and_none_again_at_the_end(api):
    first = api.add(TWO_INSIGHTS)
    assert len(first["insights"]) == 2
    again = api.add(TWO_INSIGHTS)
    assert (again["id"], again["created"], again["insights"]) == (first["id"], False, first["insights"])
    longer = api.add(f"{TWO_INSIGHTS}\nAnd so the session ended.")
    assert (longer["created"], longer["insights"]) == (True, first["insights"])
    assert Insight.objects.count() == 2


def test_another_project_that_comes_by_it_is_added(api):
    api.add(mark_insights(LAZY_LESSON), repo_id="shop")
    api.add(mark_insights(SIMILAR_LAZY_LESSON), repo_id="billing")
    assert get_insight().projects == ["shop", "billing"]


def test_it_outlives_what_it_was_taken_from(api):
    memory = api.add(mark_insights(LAZY_LESSON))
    api.delete(f"/memories/{memory['id']}")
    assert get_insight().source_memory_id is None


# Both or neither


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["memories", "bulk", "message", "patch", "tool"])
def test_when_an_insight_cannot_be_kept_its_text_is_not_either(api, monkeypatch, way):
    talk, memory = api.post("/conversations", {}).json()["id"], api.add("nothing yet")["id"]
    calls = {
        "memories": ("POST", "/memories", {"content": TWO_INSIGHTS}),
        "bulk": ("POST", "/memories/bulk", {"memories": [{"content": "plain"}, {"content": TWO_INSIGHTS}]}),
        "message": (
            "POST",
            f"/conversations/{talk}/messages",
            {"role": "user", "content": TWO_INSIGHTS, "remember": True},
        ),
        "patch": ("PATCH", f"/memories/{memory}", {"content": TWO_INSIGHTS}),
        "tool": ("POST", "/tool-results", {"tool": "t", "agent_id": "a", "result": TWO_INSIGHTS}),
    }
    before = fingerprint_tables()
    monkeypatch.setattr(capture, "save_insights", lambda *args: Insight.objects.get(quality=7))
    assert api.call(*calls[way]).status_code == 500
    assert fingerprint_tables() == before
    monkeypatch.undo()
    assert api.call(*calls[way]).status_code in (200, 201)
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}


# What it costs


def test_a_memory_without_any_takes_one_statement_still(api, takes):
    with takes(1):
        api.add("No ★ and no insight ─────")
    with takes(3):  # SAVEPOINT, INSERT, RELEASE
        api.post("/memories/bulk", {"memories": [{"content": "one"}, {"content": "two"}]})


@pytest.mark.parametrize("lessons", [1, 10])
def test_taking_insights_takes_the_same_statements_however_many(api, takes, lessons):
    texts = [
        f"{chr(0x4E00 + 99 * n)} {LAZY_LESSON[n * 3 : n * 3 + 50]} {'x' * n} {chr(0x5E00 + 99 * n)}"
        for n in range(lessons)
    ]
    # Twice SAVEPOINT, hold, three for the memory, hold, twins, four for the insights, RELEASE, what is there, RELEASE.
    with takes(15):
        api.add(mark_insights(*texts))
    assert Insight.objects.count() == lessons


# Memories that are insights


@pytest.mark.parametrize("content", ["tea", "…", "x" * 20_000, LAZY_LESSON])
def test_a_memory_told_as_an_insight_is_one_as_a_whole(api, content):
    memory = api.add(content, memory_type="insight", repo_id="shop", summary="s", importance=5, tags=["t"])
    insight = api.get(f"/insights/{memory['id']}").json()
    assert (insight["content"], insight["projects"], insight["tags"]) == (content, ["shop"], ["t"])
    assert (memory["summary"], memory["importance"], memory["created"]) == ("s", 5, True)


def test_nothing_is_taken_out_of_an_insight(api):
    api.add(TWO_INSIGHTS, memory_type="insight")
    assert load_insights() == {TWO_INSIGHTS}


def test_told_again_in_nearly_the_same_words_it_is_the_same_memory(api):
    first = api.add(LAZY_LESSON, memory_type="insight", user_id="ada")
    response = api.post(
        "/memories", {"content": SIMILAR_LAZY_LESSON, "memory_type": "insight", "user_id": "ben", "repo_id": "shop"}
    )
    assert response.status_code == 200
    assert (response.json()["id"], response.json()["created"]) == (first["id"], False)
    assert get_insight().projects == ["shop"]


def test_told_again_in_the_same_words_it_is_merged_as_any_memory(api):
    api.add(LAZY_LESSON, memory_type="insight", tags=["a"], metadata={"x": 1})
    memory = api.add(LAZY_LESSON, memory_type="insight", tags=["b"], metadata={"y": 2})
    assert (memory["tags"], memory["metadata"]) == (["a", "b"], {"x": 1, "y": 2})


def test_insights_in_bulk_have_their_places(api):
    told = [
        (LAZY_LESSON, "insight"),
        ("plain", "agent"),
        (VACUUM_LESSON, "insight"),
        (SIMILAR_LAZY_LESSON, "insight"),
        (mark_insights(SIMILAR_LAZY_LESSON), "agent"),
    ]
    body = {"memories": [{"content": text, "memory_type": kind} for text, kind in told]}
    answer = api.post("/memories/bulk", body).json()
    assert (answer["created"], answer["existing"]) == (4, 1)
    kept = dict(Memory.objects.values_list("pk", "content"))
    assert answer["ids"][0] == answer["ids"][3]
    texts = {str(pk): text for pk, text in kept.items()}
    assert [texts[pk] for pk in answer["ids"]] == [
        LAZY_LESSON,
        "plain",
        VACUUM_LESSON,
        LAZY_LESSON,
        mark_insights(SIMILAR_LAZY_LESSON),
    ]


def test_its_own_vector_is_kept(api):
    vector = [1.0] + [0.0] * 767
    memory = api.add(LAZY_LESSON, memory_type="insight", vector=vector)
    assert memory["embedded"] is True


def test_entities_that_are_insights_are_told_apart_by_their_ids(api):
    entities = [{"system": "jira", "id": f"A-{n}"} for n in (1, 2)]
    ids = [api.add(LAZY_LESSON, memory_type="insight", entity=entity)["id"] for entity in entities]
    assert len(set(ids)) == 2
    assert api.add(VACUUM_LESSON, memory_type="insight", entity=entities[0])["id"] == ids[0]
    assert {str(each.pk) for each in Insight.objects.all()} == set(ids)


@pytest.mark.parametrize("kind", [kind for kind in MemoryType if kind != "insight"])
def test_memories_of_other_types_are_no_insights(api, kind):
    api.add(LAZY_LESSON, memory_type=kind)
    assert Insight.objects.count() == 0


# Edited


def test_after_an_edit_it_is_recognised_by_its_new_text(api):
    insight = api.post("/insights", {"content": LAZY_LESSON}).json()
    assert api.patch(f"/memories/{insight['id']}", {"content": VACUUM_LESSON}).status_code == 200
    assert api.post("/insights", {"content": VACUUM_LESSON.upper()}).json()["id"] == insight["id"]
    assert api.post("/insights", {"content": LAZY_LESSON}).json()["created"] is True


@pytest.mark.django_db(transaction=True)
def test_it_cannot_be_edited_into_another_one(api):
    api.post("/insights", {"content": VACUUM_LESSON})
    insight = api.post("/insights", {"content": LAZY_LESSON}).json()
    before = fingerprint_tables()
    assert is_problem(api.patch(f"/memories/{insight['id']}", {"content": VACUUM_LESSON.upper()}), 409)
    assert fingerprint_tables() == before


def test_a_memory_becomes_an_insight_and_ceases_to_be_one(api):
    memory = api.add(LAZY_LESSON, repo_id="shop")
    api.patch(f"/memories/{memory['id']}", {"memory_type": "insight"})
    assert get_insight().projects == ["shop"]
    api.patch(f"/memories/{memory['id']}", {"memory_type": "agent"})
    assert Insight.objects.count() == 0
    assert Memory.objects.count() == 1


def test_insights_that_came_as_mere_memories_get_their_rows(api, namespace, outsider):
    rows = [(LAZY_LESSON, None, "shop"), (LAZY_LESSON.upper(), "ada", None), (VACUUM_LESSON, "ada", None)]
    Memory.objects.bulk_create(
        Memory(namespace=namespace, content=text, user_id=user, repo_id=repo, memory_type="insight", source_system="x")
        for text, user, repo in rows
    )
    assert adopt_insights() == 2
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}
    assert api.get("/insights?project=shop").json()["results"][0]["content"] == LAZY_LESSON
    assert adopt_insights() == 0
    assert api.post("/insights", {"content": SIMILAR_LAZY_LESSON}).json()["created"] is False


# Many at once


@pytest.mark.django_db(transaction=True)
def test_whatever_happens_to_insights_at_once_nobody_is_refused(api):
    talk = api.post("/conversations", {}).json()["id"]
    memory = api.add("nothing yet")["id"]
    insight = api.post("/insights", {"content": VACUUM_LESSON}).json()["id"]
    message = {"role": "user", "content": TWO_INSIGHTS, "remember": True}
    bulk = {
        "memories": [
            {"content": TWO_INSIGHTS},
            {"content": LAZY_LESSON, "memory_type": "insight"},
            {"content": mark_insights(SIMILAR_LAZY_LESSON)},
        ]
    }
    calls = [
        ("POST", "/memories", {"content": TWO_INSIGHTS}),
        ("POST", "/memories", {"content": SIMILAR_LAZY_LESSON, "memory_type": "insight"}),
        ("POST", "/memories/bulk", bulk),
        ("POST", f"/conversations/{talk}/messages", message),
        ("POST", "/insights", {"content": LAZY_LESSON, "projects": ["shop"], "confidence": 1.0}),
        ("POST", "/insights/extract", {"text": TWO_INSIGHTS, "projects": ["site"]}),
        ("PATCH", f"/memories/{memory}", {"content": mark_insights(VACUUM_LESSON, LAZY_LESSON)}),
        ("PATCH", f"/memories/{insight}", {"confidence": 0.5, "tags": ["seen"]}),
        ("POST", f"/insights/{insight}/use", None),
    ]
    told = run_at_once([partial(api.call, *call) for call in calls * 2])
    assert {each.status_code for each in told} <= {200, 201}
    assert Insight.objects.count() == 2
    assert Insight.objects.get(pk=insight).usage_count == 2


# A text that is not kept


def test_extracting_keeps_what_is_marked_and_not_the_text(api):
    body = {"text": TWO_INSIGHTS, "projects": ["shop"], "user_id": "ada", "collection": "global", "tags": ["t"]}
    response = api.post("/insights/extract", body)
    assert response.status_code == 200
    told = response.json()
    assert told["found"] == 2
    assert [(each["content"], each["created"]) for each in told["insights"]] == [
        (LAZY_LESSON, True),
        (VACUUM_LESSON, True),
    ]
    for each in told["insights"]:
        assert (each["projects"], each["user_id"], each["collection"], each["tags"]) == (
            ["shop"],
            "ada",
            "global",
            ["t"],
        )
        assert each["id"]
    assert Memory.objects.count() == 2
    again = api.post("/insights/extract", body).json()
    assert [each["created"] for each in again["insights"]] == [False, False]


def test_extracting_without_keeping_only_tells(api):
    before = fingerprint_tables()
    told = api.post("/insights/extract", {"text": TWO_INSIGHTS, "projects": ["secret-plans"], "keep": False}).json()
    assert fingerprint_tables() == before
    assert told["found"] == 2
    assert [(each["id"], each["content"], each["created"]) for each in told["insights"]] == [
        (None, LAZY_LESSON, False),
        (None, VACUUM_LESSON, False),
    ]
    assert told["insights"][0]["projects"] == [redact_project_name("secret-plans")]
    kept = api.post("/insights/extract", {"text": TWO_INSIGHTS, "projects": ["secret-plans"]}).json()["insights"]
    judged = ("insight_type", "topics", "confidence", "quality", "projects")
    assert [[each[name] for name in judged] for each in kept] == [
        [each[name] for name in judged] for each in told["insights"]
    ]


def test_a_text_without_any_is_no_error(api):
    assert api.post("/insights/extract", {"text": "nothing"}).json() == {"insights": [], "found": 0}


def test_a_hostile_text_is_answered_in_time(api):
    for text in ("─" * 100_000, "★ Insight ─────\n" * 6_250):
        assert json.loads(api.post("/insights/extract", {"text": text}).content)["found"] == 0


@pytest.mark.django_db(transaction=True)
def test_editing_and_storing_the_same_at_once_lock_nobody_out(api):
    ids = [api.add(f"Number {number}.")["id"] for number in range(6)]
    texts = [f"{number} {mark_insights(LAZY_LESSON, VACUUM_LESSON)}" for number in range(6)]
    edits = [partial(api.patch, f"/memories/{pk}", {"content": text}) for pk, text in zip(ids, texts, strict=True)]
    bulk = {"memories": [{"content": f"In bulk {text}"} for text in texts]}
    stores = [partial(api.post, "/memories/bulk", bulk) for _ in range(6)]
    assert {response.status_code for response in run_at_once([*edits, *stores])} == {200, 201}
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}


@pytest.mark.django_db(transaction=True)
def test_what_is_deleted_and_told_at_once_is_there_or_not(api):
    pk = api.post("/insights", {"content": LAZY_LESSON}).json()["id"]
    calls = [partial(api.post, "/insights", {"content": LAZY_LESSON}) for _ in range(8)]
    calls += [
        partial(api.post, "/projects/share", {"insight": LAZY_LESSON, "target_projects": ["shop"]}) for _ in range(4)
    ]
    calls += [partial(api.delete, f"/insights/{pk}")]
    assert {response.status_code for response in run_at_once(calls)} <= {200, 201, 204, 404}
    assert len(load_insights()) <= 1
