"""Extracting insights from stored texts, in the transaction that stores them."""

import json
from functools import partial

import pytest

from ingestion.tasks import ingest_due
from memories.insights import capture
from memories.insights.models import Insight
from memories.insights.redaction import redact_project_name
from memories.insights.tasks import adopt_insights
from memories.memory_types import MemoryType
from memories.models import Memory
from tests.memories.insights.samples import LAZY_LESSON, SIMILAR_LAZY_LESSON, VACUUM_LESSON, get_insight, mark_insights
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


# Every write path


def test_insights_are_extracted_from_a_memory(api):
    memory = api.add(TWO_INSIGHTS)
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}
    assert memory["memory_type"] == "agent"
    assert memory["content"] == TWO_INSIGHTS
    assert set(memory["insights"]) == {str(each.pk) for each in Insight.objects.all()}


def test_insights_are_extracted_from_a_bulk(api):
    result = api.post(
        "/memories/bulk",
        {
            "memories": [
                {"content": TWO_INSIGHTS},
                {"content": "plain"},
                {"content": mark_insights(SIMILAR_LAZY_LESSON)},
            ]
        },
    )
    assert result.json()["created"] == 3
    assert list(Memory.objects.filter(pk__in=result.json()["ids"][1:2]).values_list("content", flat=True)) == ["plain"]
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}


def test_insights_are_extracted_from_edited_content(api):
    memory = api.add("nothing yet")
    api.patch(f"/memories/{memory['id']}", {"content": mark_insights(LAZY_LESSON)})
    assert load_insights() == {LAZY_LESSON}
    assert str(get_insight().source_memory_id) == memory["id"]
    api.patch(f"/memories/{memory['id']}", {"importance": 5})
    api.patch(f"/memories/{memory['id']}", {"content": "nothing any more"})
    assert load_insights() == {LAZY_LESSON}


def test_insights_are_extracted_from_a_remembered_message(api):
    talk = api.post("/conversations", {"user_id": "ada", "session_id": "monday"}).json()
    given = {"role": "assistant", "content": TWO_INSIGHTS, "agent_id": "writer", "remember": True}
    message = api.post(f"/conversations/{talk['id']}/messages", given).json()
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}
    assert set(message["insights"]) == {str(each.pk) for each in Insight.objects.all()}
    for each in Insight.objects.select_related("memory"):
        assert (str(each.conversation_id), str(each.source_memory_id)) == (talk["id"], message["memory_id"])
        assert (each.memory.user_id, each.memory.session_id, each.memory.agent_id) == ("ada", "monday", "writer")


def test_no_insights_are_extracted_from_other_messages(api):
    talk = api.post("/conversations", {}).json()
    api.post(f"/conversations/{talk['id']}/messages", {"role": "assistant", "content": TWO_INSIGHTS})
    assert load_insights() == set()


def test_insights_are_extracted_from_a_tool_result(api):
    assert (
        api.post("/tool-results", {"tool": "reviewer", "agent_id": "writer", "result": TWO_INSIGHTS}).status_code == 201
    )
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}


def test_no_insights_are_extracted_from_document_chunks(api):
    api.post("/documents", {"content": TWO_INSIGHTS, "title": "text"})
    ingest_due()
    assert Memory.objects.filter(memory_type="rag").exists()
    assert load_insights() == set()


def test_extracted_insight_has_labels_and_project_of_its_source(api):
    memory = api.add(mark_insights(LAZY_LESSON), **MEMORY_LABELS)
    insight = get_insight()
    saved = insight.memory
    assert {name: getattr(saved, name) for name in MEMORY_LABELS} == MEMORY_LABELS
    assert (insight.projects, insight.collection, str(insight.source_memory_id)) == (["shop"], "project", memory["id"])
    assert (saved.memory_type, saved.source_system) == ("insight", "insights")


def test_extracted_insight_has_the_creation_time_of_its_source(api):
    api.add(mark_insights(LAZY_LESSON), created_at="2020-01-01T00:00:00Z")
    assert get_insight().memory.created_at.year == 2020


def test_secret_repository_is_redacted(api):
    api.add(mark_insights(LAZY_LESSON), repo_id="secret-plans")
    assert get_insight().projects == [redact_project_name("secret-plans")]
    assert get_insight().memory.repo_id == redact_project_name("secret-plans")


@pytest.mark.parametrize("named", ["nonsense", 7, None, "00000000-0000-4000-8000-000000000000", ["x"], {"a": 1}])
def test_invalid_conversation_id_in_metadata_is_ignored(api, named):
    api.add(mark_insights(LAZY_LESSON), metadata={"conversation_id": named})
    assert get_insight().conversation_id is None


def test_conversation_of_another_namespace_in_metadata_is_ignored(api, outsider):
    theirs = outsider.post("/conversations", {}).json()["id"]
    api.add(mark_insights(LAZY_LESSON), metadata={"conversation_id": theirs})
    assert get_insight().conversation_id is None


# Repeated texts


def test_storing_the_same_text_again_adds_no_insight(api):
    first = api.add(TWO_INSIGHTS)
    assert len(first["insights"]) == 2
    again = api.add(TWO_INSIGHTS)
    assert (again["id"], again["created"], again["insights"]) == (first["id"], False, first["insights"])
    longer = api.add(f"{TWO_INSIGHTS}\nAnd so the session ended.")
    assert (longer["created"], longer["insights"]) == (True, first["insights"])
    assert Insight.objects.count() == 2


def test_same_insight_from_another_project_adds_the_project(api):
    api.add(mark_insights(LAZY_LESSON), repo_id="shop")
    api.add(mark_insights(SIMILAR_LAZY_LESSON), repo_id="billing")
    assert get_insight().projects == ["shop", "billing"]


def test_insight_outlives_its_source(api):
    memory = api.add(mark_insights(LAZY_LESSON))
    api.delete(f"/memories/{memory['id']}")
    assert get_insight().source_memory_id is None


# One transaction


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["memories", "bulk", "message", "patch", "tool"])
def test_failed_insight_rolls_back_its_text(api, monkeypatch, path):
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
    assert api.call(*calls[path]).status_code == 500
    assert fingerprint_tables() == before
    monkeypatch.undo()
    assert api.call(*calls[path]).status_code in (200, 201)
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}


# Statement counts


def test_memory_without_insights_takes_one_statement(api, takes):
    with takes(1):
        api.add("No ★ and no insight ─────")
    with takes(3):  # SAVEPOINT, INSERT, RELEASE
        api.post("/memories/bulk", {"memories": [{"content": "one"}, {"content": "two"}]})


@pytest.mark.parametrize("lessons", [1, 10])
def test_extraction_takes_the_same_statements_for_one_and_ten(api, takes, lessons):
    texts = [
        f"{chr(0x4E00 + 99 * n)} {LAZY_LESSON[n * 3 : n * 3 + 50]} {'x' * n} {chr(0x5E00 + 99 * n)}"
        for n in range(lessons)
    ]
    # 2 SAVEPOINT, lock, 3 for the memory, lock, duplicates, 4 for the insights, RELEASE, read the row, RELEASE.
    with takes(15):
        api.add(mark_insights(*texts))
    assert Insight.objects.count() == lessons


# Memories that are insights


@pytest.mark.parametrize("content", ["tea", "…", "x" * 20_000, LAZY_LESSON])
def test_memory_of_type_insight_is_one_insight(api, content):
    memory = api.add(content, memory_type="insight", repo_id="shop", summary="s", importance=5, tags=["t"])
    insight = api.get(f"/insights/{memory['id']}").json()
    assert (insight["content"], insight["projects"], insight["tags"]) == (content, ["shop"], ["t"])
    assert (memory["summary"], memory["importance"], memory["created"]) == ("s", 5, True)


def test_no_insights_are_extracted_from_an_insight(api):
    api.add(TWO_INSIGHTS, memory_type="insight")
    assert load_insights() == {TWO_INSIGHTS}


def test_near_duplicate_is_the_same_memory(api):
    first = api.add(LAZY_LESSON, memory_type="insight", user_id="ada")
    response = api.post(
        "/memories", {"content": SIMILAR_LAZY_LESSON, "memory_type": "insight", "user_id": "ben", "repo_id": "shop"}
    )
    assert response.status_code == 200
    assert (response.json()["id"], response.json()["created"]) == (first["id"], False)
    assert get_insight().projects == ["shop"]


def test_exact_duplicate_is_merged_like_any_memory(api):
    api.add(LAZY_LESSON, memory_type="insight", tags=["a"], metadata={"x": 1})
    memory = api.add(LAZY_LESSON, memory_type="insight", tags=["b"], metadata={"y": 2})
    assert (memory["tags"], memory["metadata"]) == (["a", "b"], {"x": 1, "y": 2})


def test_bulk_ids_keep_their_order_with_insights_among_them(api):
    result = [
        (LAZY_LESSON, "insight"),
        ("plain", "agent"),
        (VACUUM_LESSON, "insight"),
        (SIMILAR_LAZY_LESSON, "insight"),
        (mark_insights(SIMILAR_LAZY_LESSON), "agent"),
    ]
    body = {"memories": [{"content": text, "memory_type": kind} for text, kind in result]}
    answer = api.post("/memories/bulk", body).json()
    assert (answer["created"], answer["existing"]) == (4, 1)
    saved = dict(Memory.objects.values_list("pk", "content"))
    assert answer["ids"][0] == answer["ids"][3]
    texts = {str(pk): text for pk, text in saved.items()}
    assert [texts[pk] for pk in answer["ids"]] == [
        LAZY_LESSON,
        "plain",
        VACUUM_LESSON,
        LAZY_LESSON,
        mark_insights(SIMILAR_LAZY_LESSON),
    ]


def test_supplied_vector_is_stored(api):
    vector = [1.0] + [0.0] * 767
    memory = api.add(LAZY_LESSON, memory_type="insight", vector=vector)
    assert memory["embedded"] is True


def test_insight_entities_are_identified_by_id(api):
    entities = [{"system": "jira", "id": f"A-{n}"} for n in (1, 2)]
    ids = [api.add(LAZY_LESSON, memory_type="insight", entity=entity)["id"] for entity in entities]
    assert len(set(ids)) == 2
    assert api.add(VACUUM_LESSON, memory_type="insight", entity=entities[0])["id"] == ids[0]
    assert {str(each.pk) for each in Insight.objects.all()} == set(ids)


@pytest.mark.parametrize("kind", [kind for kind in MemoryType if kind != "insight"])
def test_memories_of_other_types_get_no_insight_row(api, kind):
    api.add(LAZY_LESSON, memory_type=kind)
    assert Insight.objects.count() == 0


# Edited


def test_edited_insight_is_deduplicated_by_its_new_text(api):
    insight = api.post("/insights", {"content": LAZY_LESSON}).json()
    assert api.patch(f"/memories/{insight['id']}", {"content": VACUUM_LESSON}).status_code == 200
    assert api.post("/insights", {"content": VACUUM_LESSON.upper()}).json()["id"] == insight["id"]
    assert api.post("/insights", {"content": LAZY_LESSON}).json()["created"] is True


@pytest.mark.django_db(transaction=True)
def test_editing_an_insight_into_another_is_refused(api):
    api.post("/insights", {"content": VACUUM_LESSON})
    insight = api.post("/insights", {"content": LAZY_LESSON}).json()
    before = fingerprint_tables()
    assert is_problem(api.patch(f"/memories/{insight['id']}", {"content": VACUUM_LESSON.upper()}), 409)
    assert fingerprint_tables() == before


def test_insight_row_follows_a_change_of_type(api):
    memory = api.add(LAZY_LESSON, repo_id="shop")
    api.patch(f"/memories/{memory['id']}", {"memory_type": "insight"})
    assert get_insight().projects == ["shop"]
    api.patch(f"/memories/{memory['id']}", {"memory_type": "agent"})
    assert Insight.objects.count() == 0
    assert Memory.objects.count() == 1


def test_adopt_insights_inserts_missing_rows(api, namespace, outsider):
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


# Concurrency


@pytest.mark.django_db(transaction=True)
def test_concurrent_writes_of_all_kinds_succeed(api):
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
    result = run_at_once([partial(api.call, *call) for call in calls * 2])
    assert {each.status_code for each in result} <= {200, 201}
    assert Insight.objects.count() == 2
    assert Insight.objects.get(pk=insight).usage_count == 2


# /insights/extract


def test_extract_stores_the_insights_but_not_the_text(api):
    body = {"text": TWO_INSIGHTS, "projects": ["shop"], "user_id": "ada", "collection": "global", "tags": ["t"]}
    response = api.post("/insights/extract", body)
    assert response.status_code == 200
    result = response.json()
    assert result["found"] == 2
    assert [(each["content"], each["created"]) for each in result["insights"]] == [
        (LAZY_LESSON, True),
        (VACUUM_LESSON, True),
    ]
    for each in result["insights"]:
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


def test_extract_without_keep_stores_nothing(api):
    before = fingerprint_tables()
    result = api.post("/insights/extract", {"text": TWO_INSIGHTS, "projects": ["secret-plans"], "keep": False}).json()
    assert fingerprint_tables() == before
    assert result["found"] == 2
    assert [(each["id"], each["content"], each["created"]) for each in result["insights"]] == [
        (None, LAZY_LESSON, False),
        (None, VACUUM_LESSON, False),
    ]
    assert result["insights"][0]["projects"] == [redact_project_name("secret-plans")]
    saved = api.post("/insights/extract", {"text": TWO_INSIGHTS, "projects": ["secret-plans"]}).json()["insights"]
    judged = ("insight_type", "topics", "confidence", "quality", "projects")
    assert [[each[name] for name in judged] for each in saved] == [
        [each[name] for name in judged] for each in result["insights"]
    ]


def test_extract_from_a_text_without_insights_is_empty(api):
    assert api.post("/insights/extract", {"text": "nothing"}).json() == {"insights": [], "found": 0}


def test_extract_from_a_hostile_text_is_fast(api):
    for text in ("─" * 100_000, "★ Insight ─────\n" * 6_250):
        assert json.loads(api.post("/insights/extract", {"text": text}).content)["found"] == 0


@pytest.mark.django_db(transaction=True)
def test_concurrent_edits_and_bulks_do_not_deadlock(api):
    ids = [api.add(f"Number {number}.")["id"] for number in range(6)]
    texts = [f"{number} {mark_insights(LAZY_LESSON, VACUUM_LESSON)}" for number in range(6)]
    edits = [partial(api.patch, f"/memories/{pk}", {"content": text}) for pk, text in zip(ids, texts, strict=True)]
    bulk = {"memories": [{"content": f"In bulk {text}"} for text in texts]}
    stores = [partial(api.post, "/memories/bulk", bulk) for _ in range(6)]
    assert {response.status_code for response in run_at_once([*edits, *stores])} == {200, 201}
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON}


@pytest.mark.django_db(transaction=True)
def test_concurrent_delete_and_add_leave_one_insight_or_none(api):
    pk = api.post("/insights", {"content": LAZY_LESSON}).json()["id"]
    calls = [partial(api.post, "/insights", {"content": LAZY_LESSON}) for _ in range(8)]
    calls += [
        partial(api.post, "/projects/share", {"insight": LAZY_LESSON, "target_projects": ["shop"]}) for _ in range(4)
    ]
    calls += [partial(api.delete, f"/insights/{pk}")]
    assert {response.status_code for response in run_at_once(calls)} <= {200, 201, 204, 404}
    assert len(load_insights()) <= 1
