"""Adding a memory."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import numpy as np
import psutil
import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.utils import timezone

from memories import tasks
from memories.memory_types import MemoryType
from memories.models import Embedding, Memory
from tests.wire import is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
ALL_FIELDS = {
    "content": "Ada prefers answers in bullet points.",
    "summary": "Bullet points for Ada",
    "data": {"style": "bullets", "seen": [1, 2.5, None, True]},
    "metadata": {"important": True, "nested": {"ü": "✓"}},
    "memory_type": "user_preference",
    "source_system": "agno",
    "user_id": "ada",
    "agent_id": "writer",
    "workflow_id": "letters",
    "repo_id": "site",
    "session_id": "monday",
    "importance": 5,
    "confidence": 0.75,
    "tags": ["style", "Ünïcode"],
    "entity": {"system": "jira", "id": "A-1", "type": "ticket", "name": "The first"},
}
UNIT_VECTOR = [1.0] + [0.0] * 767


def parse_moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_only_the_content_is_required(api):
    memory = api.add("Ada likes short answers.")
    assert memory["created"] is True
    assert memory["memory_type"] == "agent"
    assert memory["source_system"] == "api"
    assert (memory["importance"], memory["confidence"]) == (3, 1.0)
    assert (memory["tags"], memory["metadata"], memory["data"], memory["entity"]) == ([], {}, None, None)
    assert (memory["expires_at"], memory["last_accessed_at"], memory["access_count"]) == (None, None, 0)
    assert memory["embedded"] is False


def test_every_given_field_is_stored(api):
    response = api.post("/memories", ALL_FIELDS)
    assert response.status_code == 201
    added = response.json()
    assert {name: added[name] for name in ALL_FIELDS} == ALL_FIELDS
    assert api.get(f"/memories/{added['id']}").json() | {"created": True} == added


def test_every_column_is_filled(api, namespace):
    api.post("/memories", ALL_FIELDS | {"expires_at": "2190-01-01T00:00:00Z"})
    row = Memory.objects.get()
    assert (row.namespace, row.user_id, row.agent_id, row.workflow_id) == (namespace, "ada", "writer", "letters")
    assert (row.repo_id, row.session_id, row.source_system) == ("site", "monday", "agno")
    assert (row.entity_system, row.entity_id, row.entity_type, row.entity_name) == (
        "jira",
        "A-1",
        "ticket",
        "The first",
    )
    assert (row.importance, row.confidence, row.tags) == (5, 0.75, ["style", "Ünïcode"])
    assert (row.data, row.metadata) == (ALL_FIELDS["data"], ALL_FIELDS["metadata"])
    assert row.expires_at == datetime(2190, 1, 1, tzinfo=UTC)
    assert row.due.due_at <= timezone.now()


def test_search_vector_covers_content_summary_and_data(api):
    api.add("the harbour", summary="boats and piers", data={"inside": ["lighthouse"], "count": 3})
    for word in ("harbour", "boats", "lighthouse"):
        assert len(api.search(word, mode="text")["results"]) == 1


def test_id_is_a_uuid7_that_sorts_by_time(api):
    ids = [api.add(f"number {number}")["id"] for number in range(20)]
    assert ids == sorted(ids)
    assert {UUID(each).version for each in ids} == {7}


@pytest.mark.parametrize("kind", list(MemoryType))
def test_every_type_is_accepted(api, kind):
    assert api.add("anything", memory_type=kind)["memory_type"] == kind


def test_memory_types_match_the_contract():
    assert set(MemoryType) == {
        *("agent", "rag", "workflow", "insight", "project"),
        *("conversation", "business_fact", "strategic_insight", "user_preference", "process_knowledge"),
        *("market_intelligence", "technical_knowledge", "relationship"),
        *("search_result", "user_selection", "tool_output", "domain_entity", "completed_action"),
        *("conversation_fact", "temporary_state"),
    }


@pytest.mark.parametrize("kind", ["", "Agent", "AGENT", "note", None, 1])
def test_an_unknown_type_is_refused(api, kind):
    response = api.post("/memories", {"content": "anything", "memory_type": kind})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"memory_type"}


def test_adding_takes_one_statement_after_authentication(api, takes):
    with takes(1):
        api.add("Ada likes tea.")
    with takes(1):
        api.add("Ada likes tea.")


def test_new_memory_is_found_by_words_at_once(api):
    memory = api.add("The harbour opens at nine.")
    assert [hit["memory"]["id"] for hit in api.search("harbour")["results"]] == [memory["id"]]


# The same content again


def test_same_content_is_stored_once(api):
    first = api.add("Ada likes tea.")
    response = api.post("/memories", {"content": "Ada likes tea."})
    assert response.status_code == 200
    assert response.json()["created"] is False
    assert response.json()["id"] == first["id"]
    assert Memory.objects.count() == 1


@pytest.mark.parametrize(
    "other",
    [
        {"memory_type": "rag"},
        {"user_id": "ben"},
        {"user_id": None},
        {"content": "Ada likes tea. "},
        {"content": "ada likes tea."},
    ],
    ids=str,
)
def test_different_type_user_or_letter_makes_another_memory(api, other):
    memory = {"content": "Ada likes tea.", "user_id": "ada"}
    first = api.post("/memories", memory).json()
    second = api.post("/memories", memory | other)
    assert second.status_code == 201
    assert second.json()["id"] != first["id"]


def test_repeat_merges_tags(api):
    api.add("tea", tags=["a", "b"])
    assert api.add("tea", tags=["c", "b", "c"])["tags"] == ["a", "b", "c"]
    assert api.add("tea")["tags"] == ["a", "b", "c"]


def test_duplicate_tags_are_stored_once(api):
    assert api.add("tea", tags=["b", "a", "b"])["tags"] == ["b", "a"]


def test_repeat_merges_metadata_and_data_by_key(api):
    api.add("tea", metadata={"a": 1, "b": 1}, data={"x": 1})
    merged = api.add("tea", metadata={"b": 2, "c": 3}, data={"y": 2})
    assert merged["metadata"] == {"a": 1, "b": 2, "c": 3}
    assert merged["data"] == {"x": 1, "y": 2}
    assert api.add("tea")["data"] == {"x": 1, "y": 2}


def test_repeat_sets_missing_data(api):
    api.add("tea")
    assert api.add("tea", data={"x": 1})["data"] == {"x": 1}


def test_repeat_sets_missing_labels_and_clears_none(api):
    api.add("tea", agent_id="first", summary="short")
    merged = api.add("tea", agent_id="second", workflow_id="w", repo_id="r", session_id="s")
    assert (merged["agent_id"], merged["workflow_id"], merged["repo_id"], merged["session_id"]) == (
        "first",
        "w",
        "r",
        "s",
    )
    assert merged["summary"] == "short"
    assert api.add("tea", summary="shorter")["summary"] == "shorter"


def test_entity_and_plain_memory_of_same_content_are_two(api):
    entity = {"system": "jira", "id": "A-1", "type": None, "name": "One"}
    plain, described = api.add("tea"), api.add("tea", entity=entity)
    other = api.add("tea", entity=entity | {"id": "A-2"})
    assert len({plain["id"], described["id"], other["id"]}) == 3
    assert (plain["entity"], described["entity"]) == (None, entity)
    assert api.add("tea")["entity"] is None


@pytest.mark.parametrize(("first", "second"), [(2, 4), (4, 2)])
def test_repeat_keeps_the_greater_importance_and_confidence(api, first, second):
    api.add("tea", importance=first, confidence=first / 10)
    merged = api.add("tea", importance=second, confidence=second / 10)
    assert (merged["importance"], merged["confidence"]) == (4, 0.4)


def test_repeat_sets_updated_at_and_keeps_created_at(api):
    first, second = api.add("tea"), api.add("tea")
    assert parse_moment(second["updated_at"]) > parse_moment(first["updated_at"])
    assert second["created_at"] == first["created_at"]


def test_repeat_keeps_the_later_expiry(api):
    soon, late = "2150-01-01T00:00:00Z", "2160-01-01T00:00:00Z"
    for given in (late, soon):
        merged = api.add("tea", expires_at=given)
    assert parse_moment(merged["expires_at"]) == parse_moment(late)
    assert api.add("tea")["expires_at"] is None
    assert api.add("tea", expires_at=soon)["expires_at"] is None


def test_repeat_does_not_queue_an_embedded_memory(api):
    api.add("tea")
    tasks.embed_due()
    assert api.add("tea")["embedded"] is True
    assert tasks.embed_due() == 0


def test_expired_duplicate_is_replaced(api):
    old = api.add("tea", tags=["old"], metadata={"old": True})
    tasks.embed_due()
    Memory.objects.update(expires_at=timezone.now())
    new = api.post("/memories", {"content": "tea"})
    assert new.status_code == 201
    assert new.json()["id"] != old["id"]
    assert (new.json()["tags"], new.json()["metadata"], new.json()["embedded"]) == ([], {}, False)
    assert [str(row.pk) for row in Memory.objects.all()] == [new.json()["id"]]
    assert Embedding.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_fifty_concurrent_requests_make_one_memory(api):
    adds = [partial(api.post, "/memories", {"content": "tea", "tags": [f"tag {n}"]}) for n in range(50)]
    answers = run_at_once(adds)
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(Memory.objects.get().tags) == 50


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_replace_an_expired_duplicate_once(api):
    old = api.add("tea")["id"]
    Memory.objects.update(expires_at=timezone.now())
    answers = run_at_once([partial(api.post, "/memories", {"content": "tea"})] * 16)
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert str(Memory.objects.get().pk) != old


# Time


def test_ttl_seconds_set_the_expiry(api):
    before = timezone.now()
    memory = api.add("tea", ttl_seconds=3600)
    assert before <= parse_moment(memory["expires_at"]) - timedelta(hours=1) <= timezone.now()


def test_ttl_and_expiry_exclude_each_other(api):
    body = {"content": "tea", "ttl_seconds": 60, "expires_at": "2190-01-01T00:00:00Z"}
    assert is_problem(api.post("/memories", body), 422)


@pytest.mark.parametrize("seconds", [0, -1, 1.5, True, "60", 2**53])
def test_ttl_must_be_a_positive_integer(api, seconds):
    assert list_blamed_fields(api.post("/memories", {"content": "tea", "ttl_seconds": seconds})) == {"ttl_seconds"}


@pytest.mark.parametrize("when", ["2020-01-01T00:00:00Z", "2200-01-01T00:00:00Z", "2190-01-01T00:00:00", "2190-01-01"])
def test_expiry_must_be_in_the_future(api, when):
    assert list_blamed_fields(api.post("/memories", {"content": "tea", "expires_at": when})) == {"expires_at"}


def test_created_at_can_be_given(api):
    memory = api.add("tea", created_at="2019-12-31T23:30:00-01:00")
    assert parse_moment(memory["created_at"]) == datetime(2020, 1, 1, 0, 30, tzinfo=UTC)
    assert parse_moment(memory["updated_at"]) > parse_moment(memory["created_at"])


@pytest.mark.parametrize("when", ["2199-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "2020-01-01T00:00:00", 1577836800])
def test_created_at_must_lie_between_2000_and_now(api, when):
    assert list_blamed_fields(api.post("/memories", {"content": "tea", "created_at": when})) == {"created_at"}


# Its own vector


def test_memory_with_a_vector_is_embedded_at_once(api):
    memory = api.add("anything", vector=UNIT_VECTOR)
    assert memory["embedded"] is True
    [hit] = api.search(None, vector=UNIT_VECTOR, mode="vector")["results"]
    assert hit["memory"]["id"] == memory["id"]
    assert hit["similarity"] == pytest.approx(1, abs=1e-3)
    assert tasks.embed_due() == 0


def test_vector_is_stored_at_unit_length_with_labels(api, namespace):
    memory = api.add(
        "anything", vector=[3, 4] + [0] * 766, user_id="ada", repo_id="site", expires_at="2190-01-01T00:00:00Z"
    )
    row = Embedding.objects.get()
    assert (str(row.memory_id), row.namespace, row.user_id, row.repo_id) == (memory["id"], namespace, "ada", "site")
    assert (row.memory_type, row.model, row.expires_at.year) == ("agent", "hashing-1", 2190)
    assert np.allclose(row.vector[:3], [0.6, 0.8, 0], atol=1e-3)


@pytest.mark.parametrize("number", [1, 7, 1e-3, 1e300, 5e-324, -1e308])
def test_vector_of_any_length_is_accepted(api, number):
    api.add("anything", vector=[number] * 768)
    [hit] = api.search(None, vector=[1 if number > 0 else -1] * 768, mode="vector")["results"]
    assert hit["similarity"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "raw",
    [
        *("[]", "[1]", f"[{','.join(['1'] * 767)}]", f"[{','.join(['1'] * 769)}]", f"[{','.join(['0'] * 768)}]"),
        *(f"[{bad}{',1' * 767}]" for bad in ("NaN", "Infinity", "-Infinity", "1e400", "true", '"1"', "null", "[1]")),
        *(f"[{'1' + '0' * 400}{',1' * 767}]", "{}", '"1"', "1"),
    ],
    ids=lambda raw: raw[:20],
)
def test_invalid_vector_is_refused(api, raw):
    response = api.raw("POST", "/memories", f'{{"content": "anything", "vector": {raw}}}')
    assert is_problem(response, 400, 422)
    assert response.status_code == 400 or {field.partition(".")[0] for field in list_blamed_fields(response)} == {
        "vector"
    }
    assert Memory.objects.count() == 0


def test_repeat_may_bring_a_vector(api):
    first = api.add("anything")
    second = api.add("anything", vector=UNIT_VECTOR)
    assert (second["id"], second["created"], second["embedded"]) == (first["id"], False, True)
    assert tasks.embed_due() == 0
    replaced = api.add("anything", vector=[0.0, 1.0] + [0.0] * 766)
    assert replaced["id"] == first["id"]
    [hit] = api.search(None, vector=UNIT_VECTOR, mode="vector")["results"]
    assert hit["similarity"] == pytest.approx(0, abs=1e-3)


def test_vector_costs_three_more_statements(api, takes):
    with takes(4):  # SAVEPOINT, INSERT, vector, RELEASE
        api.add("anything", vector=UNIT_VECTOR)


# Waiting


def test_wait_returns_an_embedded_memory(api):
    response = api.post("/memories?wait=true", {"content": "The harbour opens at nine."})
    assert response.status_code == 201
    assert response.json()["embedded"] is True
    assert api.get(f"/memories/{response.json()['id']}").json()["embedded"] is True
    [hit] = api.search("harbours opening", mode="vector")["results"]
    assert hit["memory"]["id"] == response.json()["id"]


def test_waiting_for_an_embedded_memory_takes_no_statement(api, takes):
    api.post("/memories?wait=true", {"content": "tea"})
    with takes(1):
        assert api.post("/memories?wait=true", {"content": "tea"}).json()["embedded"] is True


@pytest.fixture
def long_wait(monkeypatch) -> int:
    """Longer than a busy machine takes for an answer that waits for nothing."""
    monkeypatch.setattr("memories.api.memories.WAIT_SECONDS", seconds := 150)
    return seconds


def test_waiting_ends_at_once_when_the_embedder_is_unavailable(api, embedder, long_wait):
    embedder("Away")
    started = time.monotonic()
    response = api.post("/memories?wait=true", {"content": "tea"})
    assert time.monotonic() - started < long_wait
    assert response.status_code == 201
    assert response.json()["embedded"] is False


def test_waiting_ends_at_once_when_the_text_is_refused(api, embedder, long_wait):
    embedder("Refusing")
    started = time.monotonic()
    response = api.post("/memories?wait=true", {"content": "poison"})
    assert time.monotonic() - started < long_wait
    assert response.json()["embedded"] is False


# The database keeps its promises


def build_memory(namespace, **fields) -> Memory:
    return Memory(namespace=namespace, **({"content": "tea", "source_system": "test"} | fields))


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("memory_content_is_not_blank", {"content": ""}),
        ("memory_content_is_not_blank", {"content": " \n\t"}),
        ("memory_type_is_known", {"memory_type": "note"}),
        ("memory_source_is_named", {"source_system": ""}),
        ("memory_importance_is_1_to_5", {"importance": 0}),
        ("memory_importance_is_1_to_5", {"importance": 6}),
        ("memory_confidence_is_0_to_1", {"confidence": -0.1}),
        ("memory_confidence_is_0_to_1", {"confidence": 1.1}),
        ("memory_confidence_is_0_to_1", {"confidence": float("nan")}),
        ("memory_confidence_is_0_to_1", {"confidence": float("inf")}),
        ("entity_has_system_and_id", {"entity_system": "jira"}),
        ("entity_has_system_and_id", {"entity_id": "A-1"}),
    ],
)
def test_database_constraint_refuses(namespace, constraint, fields):
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Memory.objects.bulk_create([build_memory(namespace, **fields)])


def test_every_check_constraint_is_in_the_database():
    named = {each.name for each in Memory._meta.constraints}
    with connection.cursor() as cursor:
        there = connection.introspection.get_constraints(cursor, "memories_memory")
    assert named <= set(there)


def test_database_accepts_every_type_and_importance(namespace):
    rows = [build_memory(namespace, memory_type=kind, importance=level) for kind in MemoryType for level in (1, 5)]
    for number, each in enumerate(rows):
        each.content = f"number {number}"
    assert len(Memory.objects.bulk_create(rows)) == 40


@pytest.mark.parametrize("user", [None, "ada"])
def test_database_refuses_the_same_content_twice(namespace, user):
    Memory.objects.bulk_create([build_memory(namespace, user_id=user)])
    with pytest.raises(IntegrityError, match="memory_is_kept_once"), transaction.atomic():
        Memory.objects.bulk_create([build_memory(namespace, user_id=user)])


@pytest.mark.parametrize("user", [None, "ada"])
def test_database_refuses_two_memories_of_an_entity(namespace, user):
    entity = {"user_id": user, "entity_system": "jira", "entity_id": "A-1"}
    Memory.objects.bulk_create([build_memory(namespace, **entity)])
    with pytest.raises(IntegrityError, match="entity_has_one_memory"), transaction.atomic():
        Memory.objects.bulk_create([build_memory(namespace, content="coffee", **entity)])


def test_database_refuses_an_unknown_namespace(namespace):
    with pytest.raises(IntegrityError, match="namespace"), transaction.atomic():
        Memory.objects.bulk_create([Memory(namespace_id=namespace.pk + 1000, content="tea", source_system="test")])


def test_database_refuses_a_vector_of_another_width(namespace):
    Memory.objects.bulk_create([build_memory(namespace)])
    memory = Memory.objects.get()
    with pytest.raises(DataError, match="768"), transaction.atomic():
        Embedding.objects.write(memory.namespace_id, "any", [(memory.pk, bytes(memory.content_hash), [1.0] * 767)])


def test_database_computes_hash_and_search_vector(namespace):
    [memory] = Memory.objects.bulk_create([build_memory(namespace, content="grüner Tee")])
    memory.refresh_from_db()
    first = bytes(memory.content_hash)
    Memory.objects.update(content="black coffee")
    memory.refresh_from_db()
    assert len(first) == 32
    assert bytes(memory.content_hash) != first
    assert "coffe" in memory.search_vector


# Sizes


def test_labels_too_long_for_an_index_are_refused(api):
    wide = ["".join(chr(0x20000 + (seed + 7919 * n) % 40_000) for n in range(255)) for seed in (1, 2, 3)]
    body = {"content": "tea", "user_id": wide[0], "entity": {"system": wide[1], "id": wide[2]}}
    assert is_problem(api.post("/memories", body), 422)


@pytest.mark.parametrize(
    "content",
    [
        "x" * 100_000,
        "\U0001f600" * 100_000,
        " ".join(f"http://{n:x}.example/{n:x}" for n in range(5_000))[:100_000],
        " ".join(chr(0x20000 + n) + chr(0x20000 + n // 2) for n in range(33_000)),
    ],
    ids=["one word", "emoji", "addresses", "wide words"],
)
def test_content_of_maximum_size_is_stored_and_embedded(api, content):
    response = api.post("/memories?wait=true", {"content": content})
    assert response.status_code == 201
    assert response.json()["content"] == content
    assert response.json()["embedded"] is True


@pytest.mark.parametrize("piece", ["aB", "a.b", "a/b", "a_b", "a-b", "Zx9-", "%2F", "é-"])
@pytest.mark.parametrize("field", ["content", "data"])
def test_text_without_spaces_is_indexed_in_bounded_time(api, piece, field):
    """Without a limit PostgreSQL's text parser takes over half a minute for one of these."""
    length = 100_000 if field == "content" else 60_000
    endless = (piece * length)[: length // len(piece.encode())]
    used = measure_server_seconds()
    api.add(
        endless if field == "content" else f"An object of {piece}", data=None if field == "content" else {"x": endless}
    )
    assert measure_server_seconds() - used < 20


def measure_server_seconds() -> float:
    """Return how long PostgreSQL has computed for this connection; on a busy machine an answer takes longer."""
    used = psutil.Process(connection.connection.info.backend_pid).cpu_times()
    return used.user + used.system


def test_repeat_keeps_fields_that_it_does_not_give(api):
    api.add("A rumour.", importance=1, confidence=0.2)
    again = api.add("A rumour.")
    assert (again["importance"], again["confidence"]) == (1, 0.2)


@pytest.mark.django_db(transaction=True)
def test_merged_tags_are_bounded(api):
    for turn in range(4):
        api.add("A collector of tags.", tags=[f"tag {turn * 64 + number}" for number in range(64)])
    response = api.post("/memories", {"content": "A collector of tags.", "tags": ["one too many"]})
    assert is_problem(response, 422)


@pytest.mark.parametrize("number", [1e-300, 5e-324, -1.7e308, 2**53 - 1])
def test_long_number_stays_a_number(api, number):
    memory = api.add("Numbers.", data={"list": [number, -number], "words": f"harbour {'9' * 300} quay"})
    assert [float(each) for each in memory["data"]["list"]] == [number, -number]
    assert [hit["memory"]["id"] for hit in api.search("quay", mode="text")["results"]] == [memory["id"]]
