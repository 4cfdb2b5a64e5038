"""What an agent stores, reads and removes without a server."""

import logging
import math

import pytest

from memories.graph.models import RelationshipType
from memories.memory_types import MemoryType
from memory_client.hybrid import HybridMemory, InvalidMemory, Limits, UnknownMemory
from memory_client.hybrid.nodes import RELATIONSHIP_TYPES
from memory_client.hybrid.relevance import HALF_LIFE_HOURS, compute_relevance

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_hours(self, hours: float) -> None:
        self.now += hours * HOUR


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(open_local, clock) -> HybridMemory:
    # The thread that cleans up by itself begins at any time, and must not be the first to find what is stale.
    return open_local(clock=clock, max_idle_hours=10_000)


def test_types_and_half_lives_are_the_servers():
    assert {str(kind): kind.half_life_hours for kind in MemoryType} == HALF_LIFE_HOURS
    assert set(RelationshipType.values) == RELATIONSHIP_TYPES


@pytest.mark.parametrize(
    ("age_hours", "accessed_hours_ago", "expected"),
    [(0, None, 0.8), (24, None, 0.4), (24, 2, 0.55), (24, 25, 0.4), (2400, None, 0.05), (0, 0, 1.0)],
)
def test_relevance_decays_by_half_and_rises_with_an_access(age_hours, accessed_hours_ago, expected):
    accessed = None if accessed_hours_ago is None else -accessed_hours_ago * HOUR
    relevance = compute_relevance("conversation_fact", 0.8, -age_hours * HOUR, accessed, 0.0)
    assert math.isclose(relevance, expected)


def test_thread_memories_are_never_sent(memory):
    first = memory.store_transient_memory("thread-1", "The user looks for flights.", "temporary_state")
    memory.store_transient_memory("thread-1", {"found": 3}, "search_result", relates_to=[first])
    assert memory.status().waiting == 0
    assert memory.status().transient == 2
    assert memory.get_relationships(first)[0]["type"] == "relates_to"


def test_an_object_is_stored_as_it_is_and_searched_by_its_words(memory):
    memory_id = memory.store_transient_memory("thread-1", {"name": "Acme", "employees": 12}, "tool_output")
    node = memory.get(memory_id)
    assert node.content == {"name": "Acme", "employees": 12}
    assert [hit.node.id for hit in memory.retrieve("thread-1", "acme")] == [memory_id]


def test_stale_threads_go_and_users_stay(memory, clock):
    kept = memory.store_persistent_memory("ada", "Ada likes tea.", "business_fact")
    memory.store_transient_memory("thread-old", "Old.", "temporary_state")
    memory.store_transient_memory("thread-old", "Older.", "temporary_state")
    in_use = memory.store_transient_memory("thread-in-use", "Used.", "business_fact")
    clock.pass_hours(23)
    memory.retrieve("thread-in-use", "used")
    clock.pass_hours(2)
    assert memory.cleanup_stale_threads(max_idle_hours=24) == {
        "stale_threads_removed": 1,
        "memories_removed": 2,
        "active_graphs_remaining": 2,
    }
    assert len(memory.get_memory("thread-old")) == 0
    assert memory.get(kept)
    assert memory.get(in_use)


def test_a_key_names_a_thread_by_its_beginning_or_a_user(memory):
    memory.store_persistent_memory("ada", "Ada likes tea.", "business_fact")
    memory.store_transient_memory("planning", "Plan.", "temporary_state")
    assert [len(memory.get_memory(key)) for key in ("ada", "planning", "thread-new", "bob")] == [1, 1, 0, 0]


def test_a_thread_is_bounded(open_local):
    memory = open_local(limits=Limits(transient=5))
    ids = [memory.store_transient_memory("thread-1", f"Step {number}.", "temporary_state") for number in range(8)]
    assert [node.id for node in memory.get_memory("thread-1").nodes()] == ids[:2:-1]


def test_relevant_memories_come_first(memory, clock):
    old = memory.store_transient_memory("thread-1", "The invoice of Acme is late.", "temporary_state")
    clock.pass_hours(1)
    new = memory.store_transient_memory("thread-1", "The invoice of Beta is late.", "temporary_state")
    memory.store_transient_memory("thread-1", "Nothing to see.", "temporary_state")
    assert [hit.node.id for hit in memory.retrieve("thread-1", "late invoice")] == [new, old]
    assert memory.retrieve("thread-1", "late invoice acme")[0].node.id == old
    assert memory.retrieve("thread-1", "xylophone") == []
    clock.pass_hours(30)
    assert memory.retrieve("thread-1", "late invoice", min_relevance=0.2) == []


def test_filters_narrow_what_is_retrieved(memory, clock):
    one = memory.store_transient_memory("thread-1", "Alpha.", "tool_output", tags=["Good", None])
    clock.pass_hours(1)
    two = memory.store_transient_memory("thread-1", "Beta.", "search_result", tags=["good", "bad"])
    found = {
        "all": memory.retrieve("thread-1", max_results=1),
        "type": memory.retrieve("thread-1", context_filter="tool_output"),
        "required": memory.retrieve("thread-1", required_tags=["good"], excluded_tags=["bad"]),
    }
    assert {name: [hit.node.id for hit in hits] for name, hits in found.items()} == {
        "type": [one],
        "required": [one],
        "all": [two],
    }


def test_the_id_of_an_entity_finds_it_alone(memory):
    content = {"entity_id": "INC001", "entity_system": "servicenow", "note": "Mail is down."}
    memory_id = memory.store_transient_memory("thread-1", content, "domain_entity")
    memory.store_transient_memory("thread-1", "About INC001 and others.", "temporary_state")
    assert [hit.node.id for hit in memory.retrieve("thread-1", "inc001")] == [memory_id]


def test_an_entity_is_stored_once(memory):
    entity = {"entity_id": "001", "entity_system": "salesforce"}
    first = memory.store_persistent_memory("ada", entity | {"entity_data": {"name": "Acme"}}, "domain_entity")
    second = memory.store_persistent_memory("ada", entity | {"entity_data": {"city": "Ulm"}}, "domain_entity")
    assert first == second
    assert memory.get(first).data["entity_data"] == {"name": "Acme", "city": "Ulm"}
    assert len(memory.get_memory("ada")) == 1


def test_an_unknown_relationship_type_becomes_relates_to(memory, caplog):
    one, two = (memory.store_persistent_memory("ada", text, "business_fact") for text in ("One.", "Two."))
    with caplog.at_level(logging.WARNING, "memory_client.hybrid"):
        memory.persist_relationship("ada", one, two, "is_cousin_of", 0.5)
    assert memory.get_relationships(one) == [
        {"node_id": two, "type": "relates_to", "strength": 0.5, "direction": "out"}
    ]
    assert "invalid_relationship_type" in [record.message for record in caplog.records]


def test_relationships_join_memories_of_one_user(memory):
    one = memory.store_persistent_memory("ada", "One.", "business_fact")
    other = memory.store_persistent_memory("bob", "Two.", "business_fact")
    for start, finish in ((one, other), (one, "no id"), ("no id", one)):
        with pytest.raises(UnknownMemory):
            memory.persist_relationship("ada", start, finish, "led_to")
    with pytest.raises(InvalidMemory):
        memory.persist_relationship("ada", one, one, "led_to")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"content": "  "}, "content"),
        ({"content": "x" * 100_001}, "content"),
        ({"content": {"a": math.nan, "b": 1}}, "content"),
        ({"content": "\ud800"}, "content"),
        ({"content": {"a": object()}}, "content"),
        ({"content": 7}, "content"),
        ({"context_type": "gossip"}, "context_type"),
        ({"user_id": ""}, "user_id"),
        ({"tags": ["x" * 129]}, "tags"),
        ({"tags": "one"}, "tags"),
        ({"confidence": 1.5}, "confidence"),
        ({"importance": 6}, "importance"),
        ({"metadata": []}, "metadata"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"entity": {"system": "jira"}}, "entity"),
        ({"color": "red"}, "color"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_input_names_its_field_and_stores_nothing(memory, values, field):
    good = {"user_id": "ada", "content": "Fine.", "context_type": "business_fact"}
    with pytest.raises(InvalidMemory) as error:
        memory.store_persistent_memory(**(good | values))
    assert error.value.field == field
    assert memory.status().waiting == memory.status().cached == 0


def test_updates_and_deletes_show_at_once(memory):
    memory_id = memory.store_persistent_memory("ada", "Ada likes tea.", "business_fact")
    assert memory.update_persistent_memory(memory_id, content="Ada likes coffee.", importance=5).importance == 5
    assert memory.get(memory_id).text == "Ada likes coffee."
    assert memory.delete_persistent_memory(memory_id)
    assert memory.get(memory_id) is None
    assert not memory.delete_persistent_memory(memory_id)
    with pytest.raises(UnknownMemory):
        memory.update_persistent_memory(memory_id, importance=1)
    transient = memory.store_transient_memory("thread-1", "Here.", "temporary_state")
    with pytest.raises(UnknownMemory):
        memory.update_persistent_memory(transient, importance=1)


def test_a_memory_expires_here_too(memory, clock):
    memory_id = memory.store_persistent_memory("ada", "Ada is out for lunch.", "temporary_state", ttl_seconds=3600)
    clock.pass_hours(1.1)
    assert memory.get(memory_id) is None
    assert memory.retrieve("ada", "lunch") == []


def test_checkpoints_are_kept_by_workflow(open_local):
    memory = open_local(limits=Limits(checkpoints=3))
    ids = [memory.save_checkpoint("import", {"step": number}) for number in range(5)]
    memory.save_checkpoint("export", [1], checkpoint_id="mine", metadata={"by": "ada"})
    assert memory.load_checkpoint("import").state == {"step": 4}
    assert memory.load_checkpoint("import", ids[3]).state == {"step": 3}
    assert [each.id for each in memory.list_checkpoints("import")] == ids[:1:-1]
    assert memory.load_checkpoint("export", "mine").metadata == {"by": "ada"}
    assert memory.load_checkpoint("import", "mine") is None
    assert memory.delete_checkpoints("import") == 3
    assert memory.load_checkpoint("import") is None
    with pytest.raises(InvalidMemory):
        memory.save_checkpoint("import", {"step": object()})


def test_what_a_prompt_prints_says_whose_it_is_and_nothing_of_it(memory, path):
    memory.store_persistent_memory("ada", "Ada likes tea.", "business_fact")
    assert repr(memory.get_memory("ada")) == "<View of user 'ada'>"
    assert repr(memory) == f"<HybridMemory of {memory.client.transport.settings.address} in {path}>"
