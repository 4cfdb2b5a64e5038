"""The context for an agent, in one request."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from memories import tasks
from memories.models import Memory
from tests.wire import fingerprint_tables, is_problem

pytestmark = pytest.mark.django_db


def get_context(api, query: str = "harbour", **fields: object) -> dict:
    response = api.post("/context", {"query": query, **fields})
    assert response.status_code == 200, response.content
    return response.json()


def add_conversation(api, *said: str, **conversation: object) -> str:
    pk = api.post("/conversations", conversation).json()["id"]
    for content in said:
        assert api.post(f"/conversations/{pk}/messages", {"role": "user", "content": content}).status_code == 201
    return pk


def list_contents(hits: list[dict]) -> list[str]:
    return [hit["memory"]["content"] for hit in hits]


def list_messages(answer: dict) -> list[str]:
    return [message["content"] for message in answer["messages"]]


@pytest.fixture
def known(api) -> str:
    """Create memories, preferences and conversations of ada and ben. Return a conversation of ada."""
    for user in ("ada", "ben", None):
        api.add(f"The harbour of {user} opens at nine.", user_id=user, tags=["harbour", f"of {user}"])
        api.add(f"{user} likes tea.", user_id=user)
    tasks.embed_due()
    for user in ("ada", "ben"):
        api.call("PUT", f"/preferences/{user}/tone", {"value": user})
    add_conversation(api, "of ben", user_id="ben", session_id="ben's")
    return add_conversation(api, *[f"message {number}" for number in range(7)], user_id="ada", session_id="monday")


def test_the_context_has_everything_in_one_response(api, known):
    before = datetime.now(UTC)
    answer = get_context(api, user_id="ada", context_type="planning")
    assert (answer["context_type"], answer["degraded"]) == ("planning", False)
    assert before <= datetime.fromisoformat(answer["time"]) <= datetime.now(UTC)
    assert list_contents(answer["memories"])[0] == "The harbour of ada opens at nine."
    assert {hit["memory"]["user_id"] for hit in answer["memories"]} == {"ada", None}
    assert [each["value"] for each in answer["preferences"]] == ["ada"]
    assert list_messages(answer) == [f"message {number}" for number in range(2, 7)]
    assert {tuple(each["tags"]) for each in answer["clusters"]} == {("harbour", f"of {n}") for n in ("ada", None)}


def test_the_context_takes_a_bounded_number_of_statements(api, known, takes):
    with takes(5):
        get_context(api, user_id="ada", conversation_id=known)
    with takes(5):
        get_context(api, user_id="ada", session_id="monday")
    with takes(2):
        get_context(api)


def test_the_context_is_read_only_and_counts_no_access(api, reader, known):
    before = fingerprint_tables()
    assert len(get_context(reader, user_id="ada", conversation_id=known)["memories"]) > 0
    assert fingerprint_tables() == before
    assert not Memory.objects.filter(access_count__gt=0).exists()


def test_memories_are_ranked_as_recall_does(api, known):
    answer = get_context(api, "tea harbour")
    hits = api.post("/memories/recall", {"query": "tea harbour"}).json()["results"]
    assert list_contents(answer["memories"]) == list_contents(hits)
    assert [hit["score"] for hit in answer["memories"]] == pytest.approx([hit["score"] for hit in hits], rel=0.003)
    assert set(answer["memories"][0]) == set(hits[0])


def test_the_limit_defaults_to_fifteen_memories(api):
    for number in range(20):
        api.add(f"The harbour opens at nine, note {number}.")
    assert len(get_context(api)["memories"]) == 15
    assert len(get_context(api, limit=3)["memories"]) == 3


def test_the_user_defaults_to_that_of_the_conversation(api, known):
    answer = get_context(api, conversation_id=known)
    assert {hit["memory"]["user_id"] for hit in answer["memories"]} == {"ada", None}
    assert [each["value"] for each in answer["preferences"]] == ["ada"]


def test_the_conversation_defaults_to_the_newest_of_the_session_or_user(api, known):
    add_conversation(api, "old", user_id="ada", session_id="monday", started_at="2020-01-01T00:00:00Z")
    assert list_messages(get_context(api, session_id="ben's")) == ["of ben"]
    assert list_messages(get_context(api, session_id="monday"))[-1] == "message 6"
    assert list_messages(get_context(api, user_id="ben")) == ["of ben"]
    assert list_messages(get_context(api, session_id="unknown", user_id="ada")) == []
    assert list_messages(get_context(api)) == []


def test_a_conversation_without_user_may_be_used_for_any_user(api, known):
    conversation = add_conversation(api, "of nobody", session_id="shared")
    for where in ({"conversation_id": conversation}, {"session_id": "shared"}):
        answer = get_context(api, user_id="ada", **where)
        assert (list_messages(answer), answer["preferences"][0]["value"]) == (["of nobody"], "ada")


def test_a_conversation_of_another_user_is_not_found(api, known):
    response = api.post("/context", {"query": "harbour", "user_id": "ben", "conversation_id": known})
    assert is_problem(response, 404)
    assert list_messages(get_context(api, user_id="ben", session_id="monday")) == []


def test_an_unknown_or_foreign_conversation_is_404(api, outsider, known):
    assert is_problem(api.post("/context", {"query": "harbour", "conversation_id": str(uuid4())}), 404)
    assert is_problem(outsider.post("/context", {"query": "harbour", "conversation_id": known}), 404)


def test_another_namespace_gets_an_empty_context(outsider, known):
    answer = get_context(outsider, user_id="ada", session_id="monday")
    assert not any(answer[name] for name in ("memories", "preferences", "messages", "clusters"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("what of the lighthouses?", {"tags", "topics"}),
        ("painting", {"name"}),
        ("ACME", {"described"}),
        ("the of and", set()),
        ("o'brien & (c) | !d:* \\", set()),
    ],
)
def test_clusters_are_found_by_name_description_tags_and_topics(api, query, expected):
    for name, fields in {
        "tags": {"tags": ["lighthouse"]},
        "topics": {"topics": ["Lighthouse keepers"]},
        "described": {"description": "All of Acme."},
        "name": {"name": "Paints"},
    }.items():
        api.post("/clusters", {"name": name, "memory_type": "rag", "tags": [name], **fields})
    api.post("/clusters", {"name": "other", "memory_type": "rag", "tags": ["other"]})
    found = {each["tags"][0] for each in get_context(api, query)["clusters"]}
    assert found == {"lighthouse" if each == "tags" else each for each in expected}


def test_the_five_most_important_clusters_come_first(api):
    for number in range(7):
        for each in range(number + 1):
            api.add(f"memory {number} {each}", tags=["harbour", f"tag {number}"])
    clusters = get_context(api)["clusters"]
    assert [each["member_count"] for each in clusters] == [7, 6, 5, 4, 3]
    assert clusters[0] == api.get(f"/clusters/{clusters[0]['id']}").json()


def test_a_user_sees_only_own_and_shared_members_of_a_cluster(api):
    mine = {
        whose: api.add(f"The harbour of {whose}.", user_id=whose, tags=["harbour"]) for whose in ("ada", "ben", None)
    }
    api.add("Only ben's harbour.", user_id="ben", tags=["harbour", "ben's diagnosis"])
    said = {"name": "Ben's harbour", "memory_type": "agent", "tags": ["harbour", "ben's diagnosis"]}
    assert api.post("/clusters", said).status_code == 200  # named, but its members are still only ben's
    add_conversation(api, "hello", user_id="ada", session_id="monday")
    for asked in ({"user_id": "ada"}, {"session_id": "monday"}):
        [cluster] = get_context(api, **asked)["clusters"]
        assert (cluster["tags"], cluster["member_count"]) == (["harbour"], 2)
        assert cluster["members"] == [mine[None]["id"], mine["ada"]["id"]]
        assert cluster["importance_score"] == pytest.approx(1.2)
    assert {each["member_count"] for each in get_context(api, user_id="ben")["clusters"]} == {2, 1}
    assert {each["member_count"] for each in get_context(api)["clusters"]} == {3, 1}
    assert api.get(f"/clusters/{cluster['id']}").json()["member_count"] == 3


def test_without_the_embedder_only_words_are_searched(api, embedder, known):
    embedder("Away")
    answer = get_context(api, user_id="ada")
    assert answer["degraded"] is True
    assert set(list_contents(answer["memories"])) == {
        f"The harbour of {whose} opens at nine." for whose in ("ada", None)
    }
    assert len(answer["messages"]) == 5


def test_without_what_is_shared_there_is_only_the_users_own(api, known):
    add_conversation(api, "of nobody", session_id="nobody's")
    answer = get_context(api, user_id="ada", shared=False, session_id="nobody's")
    assert {hit["memory"]["user_id"] for hit in answer["memories"]} == {"ada"}
    assert {tuple(each["tags"]) for each in answer["clusters"]} == {("harbour", "of ada")}
    assert answer["messages"] == []


@pytest.mark.parametrize("user", [None, "ada"])
def test_the_context_of_a_project_has_its_memories_only(api, known, user):
    api.add("The harbour of the shop.", user_id=user, repo_id="shop")
    assert list_contents(get_context(api, user_id=user, repo_id="shop")["memories"]) == ["The harbour of the shop."]
