"""A hybrid memory in front of the site: the same on both sides, whatever fails in between."""

import logging
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from memories.models import Memory
from memory_client import (
    ConnectionFailed,
    Forbidden,
    NotAuthenticated,
    ProblemError,
    TimedOut,
    Unavailable,
    UnexpectedAnswer,
)
from memory_client.hybrid import ForeignFile, HybridMemory, LocalFileError, origin
from memory_client.hybrid.backoff import Backoff
from sessions_app.models import ApiKey, Namespace
from tests.memory_client.hybrid.agents import open_memory

FACT = "business_fact"


@pytest.fixture
def open_agent(relay, key, path):
    opened = []

    def open_one(**options) -> HybridMemory:
        opened.append(open_memory(**({"path": path, "url": relay.url, "key": key, "poll_seconds": 0.2} | options)))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def agent(open_agent) -> HybridMemory:
    return open_agent()


@pytest.mark.parametrize("user", ["..", "a/../.."])
def test_name_of_a_user_leads_to_no_other_address(agent, client, user):
    add(client, "The harbour opens at nine.")
    assert agent.ensure_user_memories(user).nodes() == []
    assert agent.get_user_stats(user)["combined_node_count"] == 0


def read_server(client, user="ada"):
    """The user's memories by id, as the site has them."""
    return {str(memory.id): memory for memory in client.memories.list(user_id=user)}


def add(client, content, **fields):
    """Store a memory of Ada's, as another agent does. Return its id."""
    return str(client.memories.add(content, user_id="ada", memory_type=fields.pop("memory_type", FACT), **fields).id)


def read_history(client, memory_id):
    return client.request("GET", f"/memories/{memory_id}/history", params={"limit": 100})["results"]


def lose_once(relay, method, part="", then=None, how="lose"):
    """Let the site do the next such request, and lose its answer. All that follow it meet the fault `then`."""
    left = [1]

    def fault(asked, path):
        if not left:
            return then
        if asked == method and part in path:
            left.pop()
            return how
        return None

    relay.fault = fault
    return left


def test_every_answer_is_that_of_the_primary(agent, client, relay):
    first = agent.store_persistent_memory("ada", "The harbour opens at nine.", FACT)
    agent.store_persistent_memory("ada", "It closes at five.", FACT)
    lose_once(relay, "POST", "/memories/bulk")
    assert agent.flush(60)
    agent.update_persistent_memory(first, importance=5)
    assert agent.flush(60)
    agent.ensure_user_memories("ada")
    agent.get_user_stats("ada")
    assert relay.consistencies == {"strong"}


def test_both_sides_have_the_same(agent, client):
    memory_id = agent.store_persistent_memory(
        "ada", {"name": "Acme", "size": 3}, FACT, summary="A customer", tags=["Key"], metadata={"a": 1}, confidence=0.5
    )
    assert agent.flush(60)
    [memory] = read_server(client).values()
    assert str(memory.id) == memory_id
    assert (memory.content, memory.data) == ("name: Acme\nsize: 3", {"name": "Acme", "size": 3})
    assert (memory.memory_type, memory.base_relevance, memory.tags) == (FACT, 0.5, ["key"])
    agent.update_persistent_memory(memory_id, content="Acme is a customer.", importance=5)
    assert agent.flush(60)
    memory = client.memories.get(memory_id)
    assert (memory.content, memory.importance, memory.metadata) == ("Acme is a customer.", 5, {"a": 1})
    agent.delete_persistent_memory(memory_id)
    assert agent.flush(60)
    assert read_server(client) == {}
    assert agent.refused() == []


def test_the_same_content_twice_is_two_memories(agent, client):
    ids = {agent.store_persistent_memory("ada", "Ada likes tea.", FACT) for _ in range(2)}
    assert agent.flush(60)
    assert set(read_server(client)) == ids


def test_an_outage_is_not_noticed_by_the_agent(relay, open_agent, client, path):
    relay.down()
    agent = open_agent()
    ids = [agent.store_persistent_memory("ada", f"Fact {number}.", FACT) for number in range(5)]
    agent.update_persistent_memory(ids[0], content="Fact 0, corrected.")
    agent.delete_persistent_memory(ids[1])
    agent.persist_relationship("ada", ids[2], ids[3], "led_to")
    assert not agent.flush(0.3)
    wait_for(lambda: agent.status().server_away)
    assert agent.status().blocked_by == "server"
    assert len(agent.ensure_user_memories("ada")) == len(agent.retrieve("ada", "fact")) == 4
    agent.close()
    agent = open_agent()
    relay.up()
    assert agent.flush(60)
    server = read_server(client)
    assert set(server) == {ids[0], *ids[2:]}
    assert server[ids[0]].content == "Fact 0, corrected."
    assert [each["type"] for each in client.request("GET", f"/memories/{ids[2]}/relationships")["results"]] == [
        "led_to"
    ]


@pytest.mark.parametrize("status", [503, 429, 500, 401])
def test_a_server_that_cannot_take_it_now_gets_it_later(relay, agent, client, status):
    left = [1, 1]
    relay.fault = lambda method, path: status if method == "PUT" and left and left.pop() else None
    memory_id = agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    assert agent.flush(60)
    assert set(read_server(client)) == {memory_id}
    assert agent.refused() == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_lost_answer_changes_nothing_twice(relay, agent, client, method):
    memory_id = agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    if method != "PUT":
        assert agent.flush(60)
    lose_once(relay, method)
    if method == "PATCH":
        agent.update_persistent_memory(memory_id, content="Ada likes coffee.")
    if method == "DELETE":
        agent.delete_persistent_memory(memory_id)
    assert agent.flush(60)
    assert len(read_server(client)) == (method != "DELETE")
    assert len(read_history(client, memory_id)) == (method != "PUT")
    assert agent.status().conflicts == 0


def test_what_was_deleted_after_a_lost_answer_stays_deleted(relay, agent, client):
    lose_once(relay, "PUT", then=503)
    memory_id = agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    wait_for(lambda: relay.lost)
    client.memories.delete(memory_id)
    relay.fault = lambda method, path: None
    assert agent.flush(60)
    assert read_server(client) == {}
    assert agent.get(memory_id) is None


def test_a_lost_merge_is_known_after_the_window_of_idempotency_too(relay, open_agent, client, db):
    now = [time.time()]
    agent = open_agent(clock=lambda: now[0])
    entity = {"entity_id": "1", "entity_system": "crm"}
    add(client, "Acme", memory_type="domain_entity", entity={"system": "crm", "id": "1"})
    answers = iter([None, "lose"])  # to the attempt with an id of ours, which is refused, and to the one without
    relay.fault = lambda method, path: None if method == "GET" else next(answers, 503)
    local_id = agent.store_persistent_memory("ada", entity | {"name": "Acme & Sons"}, "domain_entity")
    wait_for(lambda: relay.lost)
    assert [each.update_count for each in read_server(client).values()] == [1]
    relay.down()
    now[0] += 25 * 3600
    with_day_old_answers()
    relay.fault = lambda method, path: None
    relay.up()
    assert agent.flush(60)
    [memory] = read_server(client).values()
    assert memory.update_count == 1
    assert agent.get(local_id).id == str(memory.id)


def with_day_old_answers():
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sessions_app_idempotentanswer SET created_at = created_at - interval '25 hours'")


def test_an_entity_of_the_server_gives_its_id(relay, open_agent, client):
    known = add(client, "Acme", memory_type="domain_entity", entity={"system": "crm", "id": "1"})
    relay.down()
    agent = open_agent()
    entity = {"entity_id": "1", "entity_system": "crm", "city": "Ulm"}
    local_id = agent.store_persistent_memory("ada", entity, "domain_entity")
    other = agent.store_persistent_memory("ada", "Acme moved.", FACT, relates_to=[local_id])
    agent.update_persistent_memory(local_id, importance=4)
    relay.up()
    assert agent.flush(60)
    assert set(read_server(client)) == {known, other}
    assert agent.get(local_id).id == known
    assert agent.get_relationships(other)[0]["node_id"] == known
    assert client.memories.get(known).importance == 4
    assert len(agent.get_memory("ada")) == 2
    assert agent.refused() == []


def test_a_refused_write_is_kept_and_blocks_nothing(agent, client, caplog):
    with caplog.at_level(logging.INFO, "memory_client.hybrid"):
        bad = agent.store_persistent_memory("ada", "Secret words.", FACT, metadata={"number": 2**60})
        good = agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
        assert agent.flush(60)
    assert set(read_server(client)) == {good}
    [refused] = agent.refused()
    assert (refused.memory_id, refused.status, refused.kind) == (bad, 422, "create")
    assert "metadata" in refused.errors[0]["field"]
    assert refused.memory["text"] == "Secret words."
    failure = next(record for record in caplog.records if record.message == "failed_to_persist_to_postgres")
    assert (failure.node_id, failure.permanent) == (bad, True)
    assert not any("Secret" in str(vars(record)) for record in caplog.records)
    assert agent.retry_refused(refused.id) == 1
    assert agent.flush(60)
    agent.update_persistent_memory(bad, metadata={"number": 2})
    assert agent.flush(60)
    assert set(read_server(client)) == {good, bad}
    assert agent.refused() == []


def test_a_refused_write_can_be_discarded(agent, client):
    bad = agent.store_persistent_memory("ada", "Fact.", FACT, metadata={"number": 2**60})
    assert agent.flush(60)
    agent.ensure_user_memories("ada")
    assert agent.get(bad)
    assert agent.discard_refused(*(each.id for each in agent.refused())) == 1
    assert agent.get(bad) is None
    assert agent.status().refused == 0


def test_fields_changed_on_both_sides_are_those_of_the_later_write(relay, agent, client, caplog):
    memory_id = agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    assert agent.flush(60)
    relay.down()
    agent.update_persistent_memory(memory_id, content="Ada likes coffee.")
    client.memories.update(memory_id, content="Ada likes water.", importance=5)
    relay.up()
    assert agent.flush(60)
    memory = client.memories.get(memory_id)
    assert (memory.content, memory.importance) == ("Ada likes coffee.", 5)
    assert agent.get(memory_id).importance == 5
    assert agent.status().conflicts == 1
    assert [version["memory"]["content"] for version in read_history(client, memory_id)] == [
        "Ada likes water.",
        "Ada likes tea.",
    ]


def test_a_change_of_what_was_loaded_is_seen_too(agent, client):
    memory_id = add(client, "Ada likes tea.")
    agent.ensure_user_memories("ada")
    client.memories.update(memory_id, importance=5)
    agent.update_persistent_memory(memory_id, content="Ada likes coffee.")
    assert agent.flush(60)
    assert agent.status().conflicts == 1
    assert agent.get(memory_id).importance == 5


def test_a_delete_wins_over_an_older_update(relay, agent, client):
    ids = [agent.store_persistent_memory("ada", text, FACT) for text in ("One.", "Two.")]
    assert agent.flush(60)
    relay.down()
    agent.update_persistent_memory(ids[0], content="One, changed.")
    agent.delete_persistent_memory(ids[1])
    client.memories.delete(ids[0])
    client.memories.update(ids[1], content="Two, changed.")
    relay.up()
    assert agent.flush(60)
    assert read_server(client) == {}
    [refused] = agent.refused()
    assert (refused.status, refused.kind, refused.memory["text"]) == (404, "update", "One, changed.")
    assert agent.get(ids[0]) is None


def test_memories_are_loaded_once_and_refreshed_after_a_minute(relay, open_agent, client, caplog, monkeypatch):
    monkeypatch.setattr(origin, "TRUSTED_SECONDS", 600)
    now = [time.time()]
    agent = open_agent(clock=lambda: now[0])
    old = add(client, "Ada likes tea.")
    new = agent.store_persistent_memory("ada", "Ada likes rain.", FACT)
    assert agent.flush(60)
    assert not agent.is_user_memory_loaded("ada")
    assert {node.id for node in agent.get_memory("ada").nodes()} == {new}
    with caplog.at_level(logging.INFO, "memory_client.hybrid"):
        assert {node.id for node in agent.ensure_user_memories("ada").nodes()} == {old, new}
        assert agent.is_user_memory_loaded("ada")
        client.memories.delete(old)
        third = add(client, "Ada likes snow.")
        now[0] += 59
        assert {node.id for node in agent.ensure_user_memories("ada").nodes()} == {old, new}
        now[0] += 2
        relay.down()
        assert {node.id for node in agent.ensure_user_memories("ada").nodes()} == {old, new}
        relay.up()
        assert {node.id for node in agent.ensure_user_memories("ada").nodes()} == {new, third}
    messages = [record.message for record in caplog.records]
    assert messages.count("loading_user_memories_from_postgres") == 3
    assert messages.count("failed_to_load_user_memories") == 1


def test_loading_leaves_what_was_changed_here(relay, agent, client):
    ids = [add(client, f"Fact {number}.") for number in range(3)]
    client.request("POST", f"/memories/{ids[0]}/relationships", json={"to_id": ids[1], "type": "led_to"})
    agent.ensure_user_memories("ada")
    assert agent.get_relationships(ids[0])[0]["node_id"] == ids[1]
    relay.fault = lambda method, path: None if method == "GET" else 503
    agent.update_persistent_memory(ids[0], content="Fact 0, changed here.")
    agent.delete_persistent_memory(ids[1])
    new = agent.store_persistent_memory("ada", "New.", FACT)
    agent.refresh_seconds = 0
    texts = {node.id: node.text for node in agent.ensure_user_memories("ada").nodes()}
    assert texts == {ids[0]: "Fact 0, changed here.", ids[2]: "Fact 2.", new: "New."}


def test_numbers_count_nothing_twice(relay, agent, client):
    ids = [agent.store_persistent_memory("ada", f"Fact {number}.", FACT) for number in range(3)]
    assert agent.flush(60)
    add(client, "Known to the server alone.")
    assert agent.get_user_stats("ada")["combined_node_count"] == 4
    relay.fault = lambda method, path: 503 if method != "GET" else None
    agent.delete_persistent_memory(ids[0])
    agent.store_persistent_memory("ada", "New.", FACT)
    stats = agent.get_user_stats("ada")
    assert (stats["combined_node_count"], stats["server"]["memories"], stats["waiting_count"]) == (4, 4, 1)
    relay.down()
    stats = agent.get_user_stats("ada")
    assert (stats["combined_node_count"], stats["local_count"], stats["server"]) == (3, 3, None)


def test_a_wrong_key_loses_nothing(relay, open_agent, client, path, key):
    agent = open_agent(key="mem_wrong_" + "0" * 40)
    memory_id = agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    assert not agent.flush(0.3)
    wait_for(lambda: agent.status().blocked_by == "key")
    wait_for(lambda: "NotAuthenticated" in (agent.status().last_error or ""))
    assert not agent.status().server_away
    assert open_agent().flush(60)
    assert set(read_server(client)) == {memory_id}
    assert agent.flush(60)
    wait_for(lambda: agent.status().blocked_by is agent.status().last_error is None)  # the other one has sent it


def test_the_log_says_once_what_holds_writes_up(relay, open_agent, client, caplog):
    caplog.set_level(logging.INFO, "memory_client.hybrid")
    relay.fault = lambda method, path: 401
    agent = open_agent()
    agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    wait_for(lambda: agent.status().blocked_by == "key")
    assert not agent.flush(0.3)  # which is another attempt
    relay.fault = lambda method, path: None
    assert agent.flush(60)
    wait_for(lambda: agent.status().blocked_by is None)
    events = [each for each in caplog.records if each.message.startswith("sending_")]
    assert [(each.message, each.levelname, each.blocked_by) for each in events] == [
        ("sending_blocked", "ERROR", "key"),
        ("sending_resumed", "INFO", "key"),
    ]
    assert (events[0].error, events[0].status) == ("NotAuthenticated", 401)


@pytest.mark.parametrize(
    ("error", "obstacle", "level"),
    [
        (ConnectionFailed("No answer."), "server", logging.WARNING),
        (TimedOut("No answer in time."), "server", logging.WARNING),
        (Unavailable(503, "Service Unavailable"), "server", logging.WARNING),
        (ProblemError(500, "Internal Server Error"), "server", logging.WARNING),
        (NotAuthenticated(401, "Unauthorized"), "key", logging.ERROR),
        (Forbidden(403, "Forbidden"), "key", logging.ERROR),
        (UnexpectedAnswer(302, "Found"), "address", logging.ERROR),
        (ForeignFile(Path("agent.db"), "another site"), "file", logging.ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_holds_writes_up(caplog, error, obstacle, level):
    caplog.set_level(logging.INFO, "memory_client.hybrid")
    backoff = Backoff()
    delays = [backoff.note_failure(error) for _ in range(3)]
    assert (backoff.blocked_by, backoff.last_error) == (obstacle, f"{type(error).__name__}: {error}")
    assert [each.levelno for each in caplog.records] == [level]
    assert 0.25 <= delays[0] <= 0.5 and 1 <= delays[2] <= 2 and backoff.remaining <= delays[2]
    backoff.end()
    assert (backoff.blocked_by, backoff.last_error, backoff.remaining) == (None, None, 0)


def test_a_file_belongs_to_one_server(open_agent, agent):
    agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    with pytest.raises(LocalFileError, match="another server"):
        open_agent(url="http://127.0.0.1:9")


def test_no_transient_memory_reaches_the_server(agent, client):
    agent.store_transient_memory("thread-1", "The user looks for flights.", "temporary_state")
    agent.save_checkpoint("import", {"step": 1})
    agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    assert agent.flush(60)
    assert Memory.objects.count() == 1


def test_the_file_holds_nothing_that_waits_when_all_was_sent(agent, path):
    agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    assert agent.flush(60)
    file = sqlite3.connect(path)
    assert file.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    file.close()


# One file, one namespace


def issue_key(namespace: Namespace) -> str:
    return ApiKey.objects.issue(namespace)[1]


@pytest.fixture
def foreign_key(db) -> str:
    return issue_key(Namespace.objects.create(name="another"))


@pytest.fixture
def used_file(open_agent, path):
    """A file that knows its namespace and has a write that waits."""
    agent = open_agent()
    agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    assert agent.flush(60)
    agent.close()


def test_a_key_of_another_namespace_is_noticed_before_anything_is_sent(
    used_file, relay, open_agent, client, foreign_key
):
    relay.down()
    agent = open_agent(key=foreign_key)
    agent.store_persistent_memory("ada", "Stored while the server was away.", FACT)
    relay.up()
    with pytest.raises(ForeignFile, match="another namespace of the server"):
        agent.flush(60)
    for call in (
        lambda: agent.ensure_user_memories("ada"),
        lambda: agent.get_user_stats("ada"),
        lambda: agent.store_persistent_memory("ada", "Too late.", FACT),
    ):
        with pytest.raises(ForeignFile):
            call()
    wait_for(lambda: agent.status().blocked_by == "file")
    wait_for(lambda: "ForeignFile" in (agent.status().last_error or ""))
    assert relay.list_writes()[1:] == []  # the first is of the file's own namespace
    assert Memory.objects.count() == 1
    assert len(agent.view_user("ada").nodes()) == agent.status().waiting + 1 == 2


def test_another_key_of_the_namespace_goes_on(used_file, open_agent, client, key):
    owner = ApiKey.objects.get(pk=key.split("_")[1])
    agent = open_agent(key=ApiKey.objects.rotate(owner, timedelta(0))[1])
    agent.store_persistent_memory("ada", "Ada likes coffee.", FACT)
    assert agent.flush(60)
    assert Memory.objects.count() == 2


def test_another_site_behind_the_same_url_is_noticed(used_file, open_agent, path):
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE settings SET value = 'another' || substr(value, instr(value, '/')) WHERE name = 'origin'")
    agent = open_agent()
    agent.store_persistent_memory("ada", "Not for this one.", FACT)
    with pytest.raises(ForeignFile, match="another site"):
        agent.flush(60)
    agent.close()
    assert open_agent(server_moved=True).flush(60)
    assert Memory.objects.count() == 2
    assert open_agent().ensure_user_memories("ada").nodes()


def test_a_site_that_changes_while_it_is_away_is_noticed(relay, agent, client, foreign_key):
    agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    assert agent.flush(60)
    relay.down()  # first: what is still asked must not be asked of the other one
    relay.headers = {"Authorization": f"Bearer {foreign_key}"}  # what a relay to another site is
    agent.store_persistent_memory("ada", "Not for that one.", FACT)
    wait_for(lambda: agent.status().server_away)
    relay.up()
    with pytest.raises(ForeignFile):
        agent.flush(60)
    relay.headers = {}
    assert agent.flush(60)
    assert {each.content for each in Memory.objects.all()} == {"Ada likes tea.", "Not for that one."}


def test_an_unused_file_belongs_to_nobody(open_agent, foreign_key, client):
    with open_agent() as agent:
        agent.store_transient_memory("thread-1", "The user looks for flights.", "temporary_state")
        assert agent.get_user_stats("ada")["server"]["memories"] == 0
    agent = open_agent(key=foreign_key)
    agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    assert agent.flush(60)


def test_a_key_that_may_not_write_loses_nothing(open_agent, client, key):
    namespace = ApiKey.objects.get(pk=key.split("_")[1]).namespace
    agent = open_agent(key=ApiKey.objects.issue(namespace, scopes=("read",))[1])
    agent.store_persistent_memory("ada", "Ada likes tea.", FACT)
    assert not agent.flush(0.3)
    wait_for(lambda: agent.status().blocked_by == "key")
    wait_for(lambda: "Forbidden" in (agent.status().last_error or ""))
    agent.close()
    agent = open_agent()
    assert agent.flush(60)
    assert (agent.refused(), Memory.objects.count()) == ([], 1)


def test_an_answer_that_is_older_than_the_doubt_stops_its_request_and_no_other(
    used_file, relay, open_agent, foreign_key
):
    agent = open_agent()
    relay.headers = {"Authorization": f"Bearer {foreign_key}"}
    relay.fault = lambda method, path: agent.origin.doubt()
    with pytest.raises(ForeignFile):
        agent.origin.check()
    agent.origin.require()
    relay.headers = {}
    agent.origin.check()


# Many writes in few requests


def list_bulks(relay) -> list[int]:
    """The answers to requests with several memories."""
    return [status for method, path, status in relay.requests if (method, path) == ("POST", "/api/v1/memories/bulk")]


def store_while_away(relay, agent, contents) -> list[str]:
    relay.down()
    ids = [agent.store_persistent_memory("ada", each, FACT) for each in contents]
    relay.up()
    return ids


def test_new_memories_of_an_outage_go_in_one_request(relay, agent, client):
    contents = [f"Fact {number}." for number in range(30)]
    ids = store_while_away(relay, agent, contents)
    agent.update_persistent_memory(ids[3], content="Fact 3, corrected.")
    agent.delete_persistent_memory(ids[4])
    assert agent.flush(60)
    server = read_server(client)
    assert set(server) == set(ids) - {ids[4]}
    assert server[ids[3]].content == "Fact 3, corrected."
    assert agent.status().conflicts == 0
    assert sum(list_bulks(relay)) == 201
    assert len(relay.list_writes()) == 3


def test_both_sides_have_the_same_after_a_bulk(relay, agent, client):
    relay.down()
    content = {"answer": 42}
    for number in range(3):
        agent.store_persistent_memory(
            "ada", content | {"n": number}, "search_result", tags=["Key"], metadata={"a": 1}, ttl_seconds=3600
        )
    relay.up()
    assert agent.flush(60)
    assert list_bulks(relay) == [201]
    here = {node.id: node for node in agent.view_user("ada").nodes()}
    for memory_id, memory in read_server(client).items():
        node = here[memory_id]
        assert (node.text, node.data, node.summary) == (memory.content, memory.data, memory.summary)
        assert (node.tags, node.metadata) == (memory.tags, memory.metadata)
        assert node.expires_at == memory.expires_at.timestamp()
        assert node.created_at == memory.created_at.timestamp()


@pytest.mark.parametrize("bad", [0, 7, 19], ids=str)
def test_a_refused_memory_holds_no_other_up(relay, agent, client, bad):
    relay.down()
    ids = [
        agent.store_persistent_memory("ada", f"Fact {number}.", FACT, workflow_id="../.." if number == bad else None)
        for number in range(20)
    ]
    relay.up()
    assert agent.flush(60)
    [refused] = agent.refused()
    assert (refused.memory_id, refused.status) == (ids[bad], 422)
    assert set(read_server(client)) == set(ids) - {ids[bad]}
    assert len(relay.list_writes()) < 20


def test_a_lost_answer_to_a_bulk_stores_nothing_twice(relay, agent, client):
    left = lose_once(relay, "POST", "/bulk")
    ids = store_while_away(relay, agent, [f"Fact {number}." for number in range(10)])
    assert agent.flush(60)
    assert not left
    assert set(read_server(client)) == set(ids)
    assert list_bulks(relay) == [201]
    assert len(relay.list_writes()) == 1


@pytest.mark.parametrize("deleted", [2, 5], ids=["some", "all"])
def test_what_was_deleted_after_a_lost_bulk_stays_deleted(relay, agent, client, deleted):
    lose_once(relay, "POST", "/bulk", then=503)
    ids = store_while_away(relay, agent, [f"Fact {number}." for number in range(5)])
    wait_for(lambda: relay.lost)
    for each in ids[:deleted]:
        client.memories.delete(each)
    relay.fault = lambda method, path: None
    assert agent.flush(60)
    assert set(read_server(client)) == set(ids[deleted:]) == {node.id for node in agent.view_user("ada").nodes()}


def test_a_bulk_that_never_arrived_is_sent_again_in_halves(relay, agent, client):
    left = [1]
    relay.fault = lambda method, path: 503 if "/bulk" in path and left and left.pop() else None
    ids = store_while_away(relay, agent, [f"Fact {number}." for number in range(16)])
    assert agent.flush(60)
    assert set(read_server(client)) == set(ids)
    assert not left


def test_a_memory_that_is_there_already_is_not_stored_again(relay, agent, client):
    ids = store_while_away(relay, agent, [])
    relay.down()
    ids = [agent.store_persistent_memory("ada", f"Fact {number}.", FACT) for number in range(4)]
    client.memories.put(ids[2], "Fact 2.", user_id="ada", id=ids[2], memory_type=FACT, tags=["first"])
    relay.up()
    assert agent.flush(60)
    server = read_server(client)
    assert set(server) == set(ids)
    assert server[ids[2]].tags == ["first"]


def test_a_memory_overtakes_no_write_of_its_own(relay, agent, client):
    """One that was refused waits behind the updates of it when it is sent again. The first of them stores it."""
    relay.fault = lambda method, path: 409 if method == "PUT" else None
    refused = agent.store_persistent_memory("ada", "Refused.", FACT)
    assert agent.flush(60)
    relay.down()
    for number in range(4):
        agent.store_persistent_memory("ada", f"Fact {number}.", FACT)
    agent.update_persistent_memory(refused, content="Changed.")
    assert agent.retry_refused() == 1
    relay.requests.clear()
    relay.fault = lambda method, path: None
    relay.up()
    assert agent.flush(60)
    # The update, which reads what it changes, and then the memory as it is now.
    assert [method for method, path, _ in relay.requests if refused in path] == ["GET", "PUT"]
    assert read_server(client)[refused].content == agent.get(refused).text == "Changed."
    assert agent.refused() == []


@pytest.mark.parametrize("count", [1, 5], ids=["alone", "in a bulk"])
def test_a_memory_that_was_deleted_does_not_come_back_with_a_request_that_is_late(relay, agent, client, count):
    """The first attempt stalls somewhere until the second one, and the deletion, are done."""
    lose_once(relay, "PUT" if count == 1 else "POST", how="keep")
    ids = store_while_away(relay, agent, [f"Fact {number}." for number in range(count)])
    assert agent.flush(60)
    assert set(read_server(client)) == set(ids)
    for each in ids:
        agent.delete_persistent_memory(each)
    assert agent.flush(60)
    assert len(relay.deliver()) == 1
    assert read_server(client) == {}


def test_an_update_that_is_late_replaces_no_later_one(relay, agent, client):
    memory_id = agent.store_persistent_memory("ada", "First.", FACT)
    assert agent.flush(60)
    lose_once(relay, "PATCH", how="keep")
    for content in ("Second.", "Third."):
        agent.update_persistent_memory(memory_id, content=content)
        assert agent.flush(60)
    assert relay.deliver() == [412]
    assert read_server(client)[memory_id].content == "Third."


@pytest.mark.parametrize("count", [1, 5], ids=["alone", "in a bulk"])
def test_a_request_that_arrives_while_it_is_repeated_stores_nothing_twice(relay, open_agent, client, count):
    """The second attempt is not the same word for word: by then the memory has the moment at which it was stored."""
    moments = [time.time()]
    agent = open_agent(clock=lambda: moments[0])
    method, met = "PUT" if count == 1 else "POST", []

    def fault(asked, path):
        if asked != method:
            return None
        met.append(path)
        if len(met) == 1:
            moments[0] += 60
            return "keep"
        relay.deliver()
        return None

    relay.fault = fault
    ids = store_while_away(relay, agent, [f"Fact {number}." for number in range(count)])
    assert agent.flush(60)
    assert (len(met), agent.refused()) == (2, [])
    assert set(read_server(client)) == set(ids) == {node.id for node in agent.view_user("ada").nodes()}


def test_numbers_count_nothing_twice_while_a_bulk_is_on_its_way(relay, agent, client):
    add(client, "Known to the server alone.")
    lose_once(relay, "POST", "/bulk")
    store_while_away(relay, agent, [f"Fact {number}." for number in range(5)])
    wait_for(lambda: relay.lost)
    stats = agent.get_user_stats("ada")
    assert stats["combined_node_count"] == 6


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
