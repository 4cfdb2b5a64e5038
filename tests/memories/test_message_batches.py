"""Many messages at once: all or none, in order, each once; and the deletion of the last ones."""

from functools import partial
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from memories.models import Memory
from sessions_app.models import Conversation, Message
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
LONG_MESSAGE = "Ada told us that the harbour in Bergen opens at nine."


@pytest.fixture
def conversation(api) -> str:
    return api.post("/conversations", {"session_id": "monday", "user_id": "ada"}).json()["id"]


def build(*contents: str, **fields: object) -> list[dict]:
    return [{"role": "user", "content": content, **fields} for content in contents]


def send(api, conversation: str | None, messages: list[dict], **body: object):
    """Send messages to a conversation or, without one, to the session `monday`."""
    if conversation is None:
        return api.post("/messages/bulk", {"session_id": "monday", "messages": messages, **body})
    return api.post(f"/conversations/{conversation}/messages/bulk", {"messages": messages, **body})


def add(api, conversation: str | None, *contents: str, **body: object) -> dict:
    response = send(api, conversation, build(*contents), **body)
    assert response.status_code == 201, response.content
    return response.json()


def list_said(api, conversation: str) -> list[str]:
    found = api.get(f"/conversations/{conversation}/messages?limit=100").json()["results"]
    assert len(found) == api.get(f"/conversations/{conversation}").json()["message_count"]
    return [each["content"] for each in found]


def delete_from(api, conversation: str, message: str, **parameters: object):
    return api.delete(f"/conversations/{conversation}/messages?{urlencode({'from_id': message} | parameters)}")


# Adding


def test_messages_are_stored_in_the_given_order(api, conversation):
    words = [str(number) for number in range(50)]
    added = add(api, conversation, *words)
    assert added == {
        **{"conversation_id": conversation, "added": 50, "existing": 0, "message_count": 50, "insights": []},
        "ids": [str(each.pk) for each in Message.objects.order_by("created_at")],
    }
    assert list_said(api, conversation) == words
    add(api, conversation, "next")
    assert list_said(api, conversation) == [*words, "next"]


def test_order_survives_a_clock_that_stands_behind_the_last_message(api, conversation):
    add(api, conversation, "one")
    Message.objects.update(created_at="2100-01-01T00:00:00Z")
    add(api, conversation, "two", "three")
    assert list_said(api, conversation) == ["one", "two", "three"]


def test_every_field_of_a_message_is_stored(api, conversation):
    message = {
        "role": "tool",
        "content": "x",
        "agent_id": "a",
        "metadata": {"n": 1},
        "created_at": "2020-01-01T00:00:00Z",
    }
    [id_] = send(api, conversation, [message]).json()["ids"]
    [stored] = api.get(f"/conversations/{conversation}/messages").json()["results"]
    assert stored == {"id": id_, "conversation_id": conversation, "memory_id": None, **message}


@pytest.mark.parametrize("by_session", [False, True], ids=["conversation", "session"])
def test_all_or_none_are_stored(api, conversation, by_session):
    response = send(api, None if by_session else conversation, [*build("one"), {"role": "user", "content": " "}])
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"messages.1.content"}
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    ("messages", "field"), [([], "messages"), (build("x") * 1001, "messages"), (build("x", key=""), "messages.0.key")]
)
def test_invalid_field_is_named(api, conversation, messages, field):
    assert list_blamed_fields(send(api, conversation, messages)) == {field}


def test_message_with_a_known_key_is_skipped(api, conversation):
    first = send(api, conversation, [*build("one", key="a"), *build("two", key="b")]).json()
    again = send(api, conversation, [*build("two", key="b"), *build("three", key="c"), *build("four", key="c")]).json()
    assert (again["added"], again["existing"], again["message_count"]) == (1, 2, 3)
    assert again["ids"][0] == first["ids"][1]
    assert again["ids"][1] == again["ids"][2]
    assert list_said(api, conversation) == ["one", "two", "three"]


def test_keys_belong_to_a_conversation(api, outsider, conversation):
    other = api.post("/conversations", {}).json()["id"]
    theirs = outsider.post("/conversations", {}).json()["id"]
    for caller, talk in ((api, conversation), (api, other), (outsider, theirs)):
        assert send(caller, talk, build("one", key="a")).json()["added"] == 1


def test_equal_messages_without_keys_are_all_stored(api, conversation):
    assert add(api, conversation, "yes", "yes")["added"] == 2


def test_ended_conversation_refuses_and_a_session_starts_another(api, conversation):
    api.post(f"/conversations/{conversation}/end", {})
    assert is_problem(send(api, conversation, build("late")), 409)
    added = add(api, None, "early")
    assert added["conversation_id"] != conversation
    assert list_said(api, added["conversation_id"]) == ["early"]


def test_messages_of_a_session_join_the_conversation_of_their_user(api, conversation):
    assert add(api, None, "one", user_id="ada")["conversation_id"] == conversation
    assert add(api, None, "two")["conversation_id"] == conversation
    assert add(api, None, "three", user_id="grace")["conversation_id"] != conversation
    assert list_said(api, conversation) == ["one", "two"]


def test_metadata_of_the_conversation_is_replaced_with_the_messages(api, conversation):
    add(api, conversation, "one", conversation_metadata={"a": 1})
    add(api, conversation, "two")
    assert api.get(f"/conversations/{conversation}").json()["metadata"] == {"a": 1}
    assert is_problem(send(api, conversation, build("x"), conversation_metadata={"b": 2}, expected_count=0), 412)
    assert api.get(f"/conversations/{conversation}").json()["metadata"] == {"a": 1}


def test_expected_count_is_a_condition(api, conversation):
    add(api, conversation, "one", expected_count=0)
    response = send(api, conversation, build("two"), expected_count=0)
    assert is_problem(response, 412)
    assert response.json()["detail"] == "The conversation has 1 messages, not 0."
    assert list_blamed_fields(response) == {"expected_count"}
    add(api, conversation, "two", expected_count=1)
    assert is_problem(
        api.post("/messages/bulk", {"session_id": "new", "messages": build("x"), "expected_count": 1}), 412
    )
    assert not Conversation.objects.filter(session_id="new").exists()


def test_remembered_messages_become_memories(api, conversation):
    messages = [*build(LONG_MESSAGE, remember=True), *build("short", remember=True), *build("not " + LONG_MESSAGE)]
    send(api, conversation, messages)
    assert [each.content for each in Memory.objects.all()] == [LONG_MESSAGE]
    first = api.get(f"/conversations/{conversation}/messages").json()["results"][0]
    assert first["memory_id"] == str(Memory.objects.get().pk)


def test_repeated_request_adds_nothing(api, conversation):
    body = {"messages": build("one", "two")}
    path, key = f"/conversations/{conversation}/messages/bulk", {"Idempotency-Key": "once"}
    assert api.post(path, body, **key).json() == api.post(path, body, **key).json()
    assert list_said(api, conversation) == ["one", "two"]


@pytest.mark.django_db(transaction=True)
def test_concurrent_batches_do_not_mix_and_one_conversation_is_started(api):
    batches = [[f"{letter}{number}" for number in range(5)] for letter in "abcdef"]
    added = run_at_once([partial(add, api, None, *batch) for batch in batches])
    [conversation] = {each["conversation_id"] for each in added}
    said = list_said(api, conversation)
    assert sorted(said[start : start + 5] for start in range(0, 30, 5)) == batches


@pytest.mark.django_db(transaction=True)
def test_one_of_concurrent_batches_meets_the_expected_count(api, conversation):
    calls = [lambda: send(api, conversation, build("one"), expected_count=0).status_code] * 4
    assert sorted(run_at_once(calls)) == [201, 412, 412, 412]


# Deleting


def test_message_and_all_after_it_are_deleted(api, conversation):
    ids = add(api, conversation, *"abcd")["ids"]
    assert delete_from(api, conversation, ids[2]).json() == {"deleted": 2, "message_count": 2}
    assert list_said(api, conversation) == ["a", "b"]
    assert is_problem(delete_from(api, conversation, ids[2]), 404)
    assert delete_from(api, conversation, ids[0]).json() == {"deleted": 2, "message_count": 0}


def test_messages_of_one_moment_are_told_apart(api, conversation):
    add(api, conversation, *"abcd")
    Message.objects.update(created_at="2020-01-01T00:00:00Z")
    third = api.get(f"/conversations/{conversation}/messages?limit=3").json()["results"][2]["id"]
    assert delete_from(api, conversation, third).json()["deleted"] == 2


def test_deletion_has_the_count_as_a_condition(api, conversation):
    ids = add(api, conversation, *"ab")["ids"]
    assert is_problem(delete_from(api, conversation, ids[1], expected_count=1), 412)
    assert delete_from(api, conversation, ids[1], expected_count=2).status_code == 200
    assert list_said(api, conversation) == ["a"]


def test_memories_are_forgotten_on_request(api, conversation):
    send(api, conversation, build(LONG_MESSAGE, remember=True))
    ids = send(api, conversation, build("b " + LONG_MESSAGE, "c " + LONG_MESSAGE, remember=True)).json()["ids"]
    delete_from(api, conversation, ids[1])
    assert Memory.objects.count() == 3
    delete_from(api, conversation, ids[0], forget="true")
    assert sorted(each.content[:5] for each in Memory.objects.all()) == ["Ada t", "c Ada"]


def test_outsider_and_reader_add_and_delete_nothing(api, outsider, reader, conversation):
    [message] = add(api, conversation, "one")["ids"]
    other = api.post("/conversations", {}).json()["id"]
    before = fingerprint_tables()
    for caller, status in ((outsider, 404), (reader, 403)):
        assert is_problem(send(caller, conversation, build("x")), status)
        assert is_problem(delete_from(caller, conversation, message), status)
    assert is_problem(delete_from(api, other, message), 404)
    assert is_problem(delete_from(api, str(uuid4()), message), 404)
    assert is_problem(send(api, str(uuid4()), build("x")), 404)
    assert fingerprint_tables() == before
