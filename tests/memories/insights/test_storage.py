"""Storing insights, each once in its namespace."""

from functools import partial
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from memories.insights.models import Insight
from memories.insights.redaction import redact_project_name
from memories.insights.storage import InsightDraft, save_insights
from memories.models import Memory
from tests.memories.insights.samples import (
    LAZY_LESSON,
    LETTERS,
    SIMILAR_LAZY_LESSON,
    VACUUM_LESSON,
    add_insight,
    get_insight,
)
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
ALL_FIELDS = {
    "content": LAZY_LESSON,
    "collection": "global",
    "insight_type": "pattern",
    "topics": ["orm", "laziness"],
    "projects": ["shop", "billing"],
    "confidence": 0.25,
    "quality": 0.125,
    "user_id": "ada",
    "agent_id": "writer",
    "session_id": "monday",
    "workflow_id": "letters",
    "tags": ["django"],
    "metadata": {"seen": 1},
}


def test_only_content_is_required_and_the_rest_is_estimated(api):
    insight = add_insight(
        api, "Always close a cursor, because `open` ones hold 2 locks until the transaction is at its end."
    )
    assert insight["created"] is True
    assert (insight["collection"], insight["insight_type"]) == ("project", "best_practice")
    assert (insight["topics"], insight["projects"], insight["tags"]) == (["open"], [], [])
    assert (insight["confidence"], insight["quality"]) == (0.8, 0.775)
    assert (insight["usage_count"], insight["last_used_at"]) == (0, None)
    assert (insight["source_memory_id"], insight["conversation_id"], insight["user_id"]) == (None, None, None)


def test_every_given_field_is_stored(api):
    response = api.post("/insights", ALL_FIELDS)
    assert response.status_code == 201
    insight = response.json()
    shown = set(ALL_FIELDS) & set(insight)
    assert {name: insight[name] for name in shown} == {name: ALL_FIELDS[name] for name in shown}
    memory = Memory.objects.get()
    assert (memory.memory_type, memory.source_system) == ("insight", "insights")
    assert (memory.agent_id, memory.session_id, memory.workflow_id) == ("writer", "monday", "letters")
    assert (memory.metadata, memory.repo_id) == ({"seen": 1}, None)
    assert api.get(f"/insights/{insight['id']}").json() | {"created": True} == insight


def test_insight_is_a_memory(api):
    insight = add_insight(api)
    assert api.get(f"/memories/{insight['id']}").json()["memory_type"] == "insight"
    assert [hit["memory"]["id"] for hit in api.search("queryset")["results"]] == [insight["id"]]


def test_memory_of_a_single_project_has_its_repository(api):
    add_insight(api, projects=["shop"])
    assert Memory.objects.get().repo_id == "shop"


def test_origin_is_stored_and_survives_its_deletion_as_null(api):
    memory, talk = api.add("Where it came from."), api.post("/conversations", {}).json()
    insight = add_insight(api, source_memory_id=memory["id"], conversation_id=talk["id"])
    assert (insight["source_memory_id"], insight["conversation_id"]) == (memory["id"], talk["id"])
    api.delete(f"/memories/{memory['id']}")
    insight = api.get(f"/insights/{insight['id']}").json()
    assert (insight["source_memory_id"], insight["conversation_id"]) == (None, talk["id"])


@pytest.mark.parametrize("field", ["source_memory_id", "conversation_id"])
def test_unknown_origin_is_refused(api, outsider, field):
    theirs = {
        "source_memory_id": outsider.add("Theirs.")["id"],
        "conversation_id": outsider.post("/conversations", {}).json()["id"],
    }
    before = fingerprint_tables()
    for pk in (str(uuid4()), theirs[field]):
        response = api.post("/insights", {"content": LAZY_LESSON, field: pk})
        assert is_problem(response, 422)
        assert list_blamed_fields(response) == {field}
    assert fingerprint_tables() == before


def test_length_error_counts_characters(api):
    [error] = api.post("/insights", {"content": "short"}).json()["errors"]
    assert error["message"] == "must have at least 30 characters, not 5"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("content", "x" * 29),
        ("content", "x" * 10_001),
        ("content", " " * 40),
        ("collection", "ours"),
        ("insight_type", "rumour"),
        ("topics", ["t"] * 33),
        ("projects", ["p"] * 65),
        ("projects", [""]),
        ("confidence", 1.1),
        ("quality", -0.1),
        ("quality", "0.5"),
    ],
)
def test_invalid_values_are_refused(api, field, value):
    response = api.post("/insights", {"content": LAZY_LESSON, field: value})
    assert is_problem(response, 422)
    assert {each.partition(".")[0] for each in list_blamed_fields(response)} == {field}
    assert Memory.objects.count() == 0


def test_merge_unites_lists_and_takes_greater_figures(api):
    add_insight(api, projects=["shop", "billing"], topics=["orm"], confidence=0.5, quality=0.9)
    insight = add_insight(
        api, SIMILAR_LAZY_LESSON, projects=["billing", "site"], topics=["sql", "orm"], confidence=0.75, quality=0.25
    )
    assert insight["projects"] == ["shop", "billing", "site"]
    assert insight["topics"] == ["orm", "sql"]
    assert (insight["confidence"], insight["quality"]) == (0.75, 0.9)


def test_merge_unites_tags_and_metadata(api):
    first = add_insight(api, tags=["a", "b"], metadata={"one": 1, "both": 1})
    again = add_insight(api, SIMILAR_LAZY_LESSON, tags=["b", "c"], metadata={"two": 2, "both": 2})
    assert (again["id"], again["created"], again["tags"]) == (first["id"], False, ["a", "b", "c"])
    assert Memory.objects.get().metadata == {"one": 1, "both": 2, "two": 2}


def test_merge_takes_the_later_expiry_and_none_is_the_latest(api):
    ends = [{"ttl_seconds": 100}, {"ttl_seconds": 1_000}, {}, {"ttl_seconds": 5_000}]
    result = [api.add(LAZY_LESSON, memory_type="insight", **end) for end in ends]
    assert len({each["id"] for each in result}) == 1
    assert result[0]["expires_at"] < result[1]["expires_at"]
    assert (result[2]["expires_at"], result[3]["expires_at"]) == (None, None)
    temporary = api.add(VACUUM_LESSON, memory_type="insight", ttl_seconds=100)
    assert add_insight(api, VACUUM_LESSON)["id"] == temporary["id"]
    assert Memory.objects.get(pk=temporary["id"]).expires_at is None


def test_secret_repository_of_a_memory_is_redacted(api):
    memory = api.add(LAZY_LESSON, memory_type="insight", repo_id="prod-secret-vault")
    assert memory["repo_id"] == redact_project_name("prod-secret-vault") != "prod-secret-vault"


def test_absent_fields_change_nothing(api):
    first = add_insight(api, projects=["shop"], topics=[], confidence=0.1, quality=0.1)
    before = fingerprint_tables()
    assert add_insight(api) == first | {"created": False}
    assert fingerprint_tables() == before


def test_merged_lists_are_bounded(api):
    for turn in range(2):
        insight = add_insight(
            api,
            projects=[f"p{turn}-{n}" for n in range(64 if turn else 40)],
            topics=[f"t{turn}-{n}" for n in range(32 if turn else 20)],
        )
    assert (len(insight["projects"]), len(insight["topics"])) == (64, 32)
    assert insight["projects"][:40] == [f"p0-{n}" for n in range(40)]


# Names of projects


def test_secret_project_name_is_stored_as_a_hash(api):
    insight = add_insight(api, projects=["shop", "secret-plans"])
    assert insight["projects"] == ["shop", redact_project_name("secret-plans")]
    assert "secret" not in str(list(Insight.objects.values())) + str(list(Memory.objects.values()))


def test_secret_repository_of_an_insight_is_redacted(api):
    add_insight(api, projects=["secret-plans"])
    assert Memory.objects.get().repo_id == redact_project_name("secret-plans")


# Many in one request, and concurrency


def test_insights_of_one_request_are_saved_in_order_and_once(namespace):
    with transaction.atomic():
        saved = save_insights(
            namespace.pk,
            [
                InsightDraft(text)
                for text in (LAZY_LESSON, VACUUM_LESSON, SIMILAR_LAZY_LESSON, VACUUM_LESSON.upper(), LETTERS)
            ],
        )
    ids = [pk for pk, _ in saved]
    assert ids[0] == ids[2] and ids[1] == ids[3]
    assert [created for _, created in saved] == [True, True, False, False, True]
    assert Insight.objects.count() == 3


def test_imported_usage_is_stored(namespace):
    moment = timezone.now()
    with transaction.atomic():
        save_insights(namespace.pk, [InsightDraft(LAZY_LESSON, usage_count=3, last_used_at=moment, created_at=moment)])
    insight = get_insight()
    assert (insight.usage_count, insight.last_used_at, insight.memory.created_at) == (3, moment, moment)


@pytest.mark.parametrize("number", [1, 100])
def test_saving_takes_the_same_statements_for_one_and_many(namespace, django_assert_num_queries, number):
    texts = [f"{LETTERS[n * 8 : n * 8 + 40]} is a text of its own." for n in range(number)]
    with transaction.atomic():
        with django_assert_num_queries(6):  # lock, duplicates, SAVEPOINT, memories, RELEASE, insights
            save_insights(namespace.pk, [InsightDraft(text, projects=["a"]) for text in texts])
        with django_assert_num_queries(4):  # lock, duplicates, both updates
            save_insights(namespace.pk, [InsightDraft(text, projects=["b"]) for text in texts])
    assert Insight.objects.count() == number


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("near", [False, True])
def test_twenty_concurrent_writers_leave_one_insight(api, near):
    texts = [LETTERS[: 1000 - n] if near else LETTERS for n in range(20)]
    result = run_at_once([partial(add_insight, api, text, projects=[f"p{n}"]) for n, text in enumerate(texts)])
    assert len({each["id"] for each in result}) == 1
    assert sum(each["created"] for each in result) == 1
    assert sorted(get_insight().projects) == sorted(f"p{n}" for n in range(20))
    assert Memory.objects.count() == 1


def test_deleting_insight_or_memory_deletes_both(api):
    for path in ("insights", "memories"):
        insight = add_insight(api)
        assert api.delete(f"/{path}/{insight['id']}").status_code == 204
        assert (Insight.objects.count(), Memory.objects.count()) == (0, 0)


def test_other_namespaces_see_and_delete_nothing(api, outsider):
    insight = add_insight(api)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/use")):
        assert outsider.call(method, f"/insights/{insight['id']}{path}").status_code == 404
    assert outsider.get("/insights").json()["results"] == []
    assert outsider.get("/insights/statistics").json()["total"] == 0
    assert Insight.objects.count() == 1


def test_memory_of_another_type_is_not_found(api):
    memory = api.add("no insight")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/use")):
        assert api.call(method, f"/insights/{memory['id']}{path}").status_code == 404


def test_erasing_a_user_erases_their_insights(api):
    add_insight(api, user_id="ada")
    mine = add_insight(api, VACUUM_LESSON)
    assert api.delete("/users/ada").status_code == 200
    assert str(get_insight().pk) == mine["id"]
