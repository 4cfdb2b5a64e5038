"""Messages of conversations, and the memories made of them."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from memories import add, tasks
from memories.memory_types import Importance
from memories.models import Memory
from memory_site.operations.selftest.scratch_site import wait_until
from sessions_app.models import Conversation, Message, Namespace
from tests.wire import fingerprint_tables, is_lock_awaited, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
LONG_MESSAGE = "Ada told us that the harbour in Bergen opens at nine."
SHORT_MESSAGE = "x" * 50


@pytest.fixture
def conversation(api) -> str:
    return api.post("/conversations", {"session_id": "monday", "user_id": "ada"}).json()["id"]


def post_message(api, conversation: str, content: str = "why?", role: str = "user", **more: object):
    return api.post(f"/conversations/{conversation}/messages", {"role": role, "content": content, **more})


def add_message(api, conversation: str, content: str = "why?", **more: object) -> dict:
    response = post_message(api, conversation, content, **more)
    assert response.status_code == 201, response.content
    return response.json()


def list_messages(api, conversation: str, **parameters: object) -> dict:
    response = api.get(f"/conversations/{conversation}/messages?{urlencode(parameters)}")
    assert response.status_code == 200, response.content
    return response.json()


def list_contents(page: dict) -> list[str]:
    return [each["content"] for each in page["results"]]


def get_message_count(api, conversation: str) -> int:
    return api.get(f"/conversations/{conversation}").json()["message_count"]


def end_conversation(api, conversation: str):
    return api.post(f"/conversations/{conversation}/end", {})


# Adding messages


def test_message_is_stored_and_counted(api, conversation, namespace):
    before = datetime.now(UTC)
    message = add_message(api, conversation, "why?")
    assert before <= datetime.fromisoformat(message.pop("created_at")) <= datetime.now(UTC)
    row = Message.objects.get()
    assert (row.namespace, row.content) == (namespace, "why?")
    assert message == {
        **{"id": str(row.pk), "conversation_id": conversation, "role": "user", "agent_id": None, "content": "why?"},
        **{"metadata": {}, "memory_id": None, "insights": []},
    }
    assert get_message_count(api, conversation) == 1


def test_every_field_is_stored(api, conversation):
    fields = {
        "agent_id": "writer",
        "metadata": {"nested": {"ü": "✓", "none": None}, "percent": "%s %% %(id)s"},
        "created_at": "2020-01-01T09:00:00.123456Z",
    }
    message = add_message(api, conversation, "  Because.\n", role="assistant", **fields)
    assert {name: message[name] for name in fields} == fields
    assert (message["content"], message["role"]) == ("  Because.\n", "assistant")
    del message["insights"]
    assert list_messages(api, conversation)["results"] == [message]


@pytest.mark.parametrize("role", ["user", "assistant", "system", "tool"])
def test_role_is_accepted(api, conversation, role):
    assert add_message(api, conversation, role=role)["role"] == role


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("role", value) for value in ("", "User", "model", None, 1)),
        *(("content", value) for value in ("", " \n", "\u200b", "x" * 100_001, "a\0b", None)),
        *(("agent_id", value) for value in ("", "x" * 256, 1)),
        *(("metadata", value) for value in ([], None, "x", {"a": "x" * 70_000})),
        *(("created_at", value) for value in ("2190-01-01T00:00:00Z", "2020-01-01T00:00:00", 1)),
        *(("remember", value) for value in (None, "true", 1)),
        *(("memory_type", value) for value in ("rag", "", None)),
        *(("source_system", value) for value in ("", "x" * 256, None)),
        *(("importance", value) for value in (0, 6, 2.5, "3", None)),
        *((name, 1) for name in ("id", "memory_id", "conversation_id", "user_id")),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_invalid_field_is_named(api, conversation, field, value):
    before = fingerprint_tables()
    path = f"/conversations/{conversation}/messages"
    response = api.post(path, {"role": "user", "content": "why?", field: value})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
    assert fingerprint_tables() == before


def test_longest_content_is_stored_and_remembered(api, conversation):
    message = add_message(api, conversation, "goal " * 20_000, remember=True)
    assert len(Message.objects.get().content) == 100_000
    assert Memory.objects.get().pk == UUID(message["memory_id"])


def test_foreign_or_unknown_conversation_is_404(api, outsider, reader, conversation):
    before = fingerprint_tables()
    assert is_problem(post_message(outsider, conversation, LONG_MESSAGE, remember=True), 404)
    assert is_problem(post_message(api, str(uuid4()), LONG_MESSAGE, remember=True), 404)
    assert is_problem(post_message(reader, conversation, LONG_MESSAGE, remember=True), 403)
    assert fingerprint_tables() == before


@pytest.mark.parametrize("remember", [False, True])
def test_ended_conversation_refuses_messages(api, outsider, conversation, remember):
    add_message(api, conversation)
    end_conversation(api, conversation)
    before = fingerprint_tables()
    assert is_problem(post_message(api, conversation, LONG_MESSAGE, remember=remember), 409)
    assert is_problem(post_message(outsider, conversation, LONG_MESSAGE, remember=remember), 404)
    assert fingerprint_tables() == before


@pytest.mark.django_db(transaction=True)
def test_concurrent_messages_are_counted_once_in_order_of_arrival(api, conversation):
    texts = [f"{LONG_MESSAGE} Number {number // 2}." for number in range(20)]
    work = [partial(post_message, api, conversation, text, remember=bool(n % 4)) for n, text in enumerate(texts)]
    answers = run_at_once(work)
    assert {answer.status_code for answer in answers} == {201}
    assert get_message_count(api, conversation) == Message.objects.count() == 20
    assert Memory.objects.count() == len({texts[n] for n in range(20) if n % 4})
    arrival = [each["created_at"] for each in list_messages(api, conversation, limit=100)["results"]]
    assert arrival == sorted(set(arrival))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("remember", [False, True])
def test_message_concurrent_with_the_end_is_before_it_or_refused(api, conversation, remember):
    work = [
        partial(post_message, api, conversation, f"{LONG_MESSAGE} Number {each}.", remember=remember)
        for each in range(14)
    ]
    ended, *answers = run_at_once([partial(end_conversation, api, conversation), *work])
    assert {answer.status_code for answer in answers} <= {201, 409}
    stored = [answer.json()["created_at"] for answer in answers if answer.status_code == 201]
    assert (
        get_message_count(api, conversation) == Message.objects.count() == ended.json()["message_count"] == len(stored)
    )
    assert Memory.objects.count() == (len(stored) if remember else 0)
    assert all(moment <= ended.json()["ended_at"] for moment in stored)


def call_behind_change(change: str, call: Callable):
    """Make a call while a transaction changes the conversation; return its answer and the end of that transaction."""
    held, ended_at = threading.Event(), []

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE sessions_app_conversation SET {change}")
            held.set()
            wait_until(is_lock_awaited, 60, "the call waits for the conversation")
            cursor.execute("SELECT clock_timestamp()")
            ended_at.extend(cursor.fetchone())

    _, answer = run_at_once([hold, lambda: held.wait(60) and call()])
    return answer, ended_at[0]


@pytest.mark.django_db(transaction=True)
def test_message_that_waited_for_the_end_is_refused(api, conversation):
    answer, _ = call_behind_change("ended_at = now()", partial(post_message, api, conversation))
    assert is_problem(answer, 409)
    assert get_message_count(api, conversation) == Message.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_times_are_read_after_waiting_for_the_lock(api, conversation):
    answer, ended_at = call_behind_change("message_count = 7", partial(post_message, api, conversation))
    assert datetime.fromisoformat(answer.json()["created_at"]) >= ended_at
    assert get_message_count(api, conversation) == 8
    answer, ended_at = call_behind_change("message_count = 9", partial(end_conversation, api, conversation))
    assert datetime.fromisoformat(answer.json()["ended_at"]) >= ended_at


def test_message_takes_one_statement_and_remembered_one_three(api, conversation, takes):
    with takes(1):
        add_message(api, conversation)
    with takes(1):
        add_message(api, conversation, SHORT_MESSAGE, remember=True)
    for _ in range(2):
        with takes(5):  # SAVEPOINT, message, memory, its id, RELEASE
            add_message(api, conversation, LONG_MESSAGE, remember=True)


def test_idempotency_key_replays_the_message(api, conversation):
    answers = [
        api.post(
            f"/conversations/{conversation}/messages",
            {"role": "user", "content": LONG_MESSAGE, "remember": True},
            **{"Idempotency-Key": "the same"},
        )
        for _ in range(2)
    ]
    assert answers[0].content == answers[1].content
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1]["Idempotency-Replayed"] == "true"
    assert get_message_count(api, conversation) == Message.objects.count() == Memory.objects.count() == 1


def test_retry_after_the_end_replays_the_first_answer(api, conversation):
    request = partial(
        api.post,
        f"/conversations/{conversation}/messages",
        {"role": "user", "content": "why?"},
        **{"Idempotency-Key": "a"},
    )
    first = request()
    end_conversation(api, conversation)
    assert (request().status_code, request().content) == (201, first.content)


# Remembering


def test_remembered_message_becomes_a_memory(api, conversation):
    message = add_message(api, conversation, LONG_MESSAGE, agent_id="writer", metadata={"own": 1}, remember=True)
    memory = api.get(f"/memories/{message['memory_id']}").json()
    expected = {
        "content": LONG_MESSAGE,
        "memory_type": "agent",
        "source_system": "conversation",
        "user_id": "ada",
        "session_id": "monday",
        "agent_id": "writer",
        "importance": Importance.MEDIUM,
        "metadata": {"own": 1, "role": "user", "conversation_id": conversation, "message_id": message["id"]},
    }
    assert {name: memory[name] for name in expected} == expected
    assert str(Message.objects.get().memory_id) == memory["id"]
    assert message["insights"] == []


def test_memory_of_conversation_without_labels_has_none(api):
    conversation = api.post("/conversations", {}).json()["id"]
    memory = api.get(f"/memories/{add_message(api, conversation, LONG_MESSAGE, remember=True)['memory_id']}").json()
    assert (memory["user_id"], memory["session_id"], memory["agent_id"]) == (None, None, None)


def test_memory_type_may_be_conversation(api, conversation):
    message = add_message(api, conversation, LONG_MESSAGE, remember=True, memory_type="conversation")
    assert api.get(f"/memories/{message['memory_id']}").json()["memory_type"] == "conversation"


def test_memory_has_time_of_the_message(api, conversation):
    message = add_message(api, conversation, LONG_MESSAGE, remember=True, created_at="2020-01-01T09:00:00Z")
    assert api.get(f"/memories/{message['memory_id']}").json()["created_at"] == "2020-01-01T09:00:00Z"


def test_message_is_not_remembered_by_default(api, conversation):
    assert add_message(api, conversation, LONG_MESSAGE)["memory_id"] is None
    assert not Memory.objects.exists()


@pytest.mark.parametrize("content", [SHORT_MESSAGE, f"   {SHORT_MESSAGE}\n\n   ", "x"], ids=len)
def test_50_characters_are_not_remembered(api, conversation, content):
    assert add_message(api, conversation, content, remember=True)["memory_id"] is None
    assert not Memory.objects.exists()


def test_51_characters_are_remembered(api, conversation):
    assert add_message(api, conversation, f" {SHORT_MESSAGE}y ", remember=True)["memory_id"] is not None


def test_importance_of_the_memory_is_medium_unless_it_is_given(api, conversation):
    usual = add_message(api, conversation, LONG_MESSAGE, remember=True)
    given = add_message(api, conversation, f"{LONG_MESSAGE} Early.", remember=True, importance=5)
    levels = [api.get(f"/memories/{each['memory_id']}").json()["importance"] for each in (usual, given)]
    assert levels == [Importance.MEDIUM, Importance.CRITICAL]


def test_memory_has_the_source_that_is_given(api, conversation):
    message = add_message(api, conversation, LONG_MESSAGE, remember=True, source_system="agno")
    assert api.get(f"/memories/{message['memory_id']}").json()["source_system"] == "agno"


def test_a_message_with_the_most_metadata_is_remembered(api, conversation):
    metadata = {f"key {n}": n for n in range(256)} | {"key 0": "ü" * 25_000}
    message = add_message(api, conversation, LONG_MESSAGE, remember=True, metadata=metadata)
    stored = api.get(f"/memories/{message['memory_id']}").json()["metadata"]
    assert metadata.items() <= stored.items() and stored["role"] == "user"


def test_equal_content_of_one_role_is_one_memory(api, conversation):
    first, second = (add_message(api, conversation, LONG_MESSAGE, remember=True) for _ in range(2))
    assert first["memory_id"] == second["memory_id"]
    memory = Memory.objects.get()
    assert memory.metadata == {"conversation_id": conversation, "message_id": second["id"], "role": "user"}
    assert Message.objects.filter(memory_id=memory.pk).count() == get_message_count(api, conversation) == 2


def test_equal_content_of_two_roles_is_two_memories(api, conversation):
    roles = ("user", "assistant", "user", "assistant", "tool")
    messages = [add_message(api, conversation, LONG_MESSAGE, role=role, remember=True) for role in roles]
    ids = [each["memory_id"] for each in messages]
    assert ids[0] == ids[2] != ids[1] == ids[3] and len(set(ids)) == 3
    assert [api.get(f"/memories/{pk}").json()["metadata"]["role"] for pk in ids] == list(roles)
    assert {each["memory"]["id"] for each in api.search(LONG_MESSAGE, mode="text")["results"]} == set(ids)


@pytest.mark.parametrize("role", ["assistant", "system", "tool"])
def test_role_distinguishes_memories_of_all_ways_to_add(api, role):
    memories = [{"content": LONG_MESSAGE, "metadata": {"role": each}} for each in ("user", role)]
    added = api.post("/memories/bulk", {"memories": memories}).json()
    assert added["created"] == 2
    again = api.post("/memories", {**memories[1], "tags": ["again"]})
    assert (again.status_code, again.json()["id"]) == (200, added["ids"][1])
    assert api.post("/memories", {"content": LONG_MESSAGE}).json()["id"] == added["ids"][0]
    assert is_problem(api.patch(f"/memories/{added['ids'][0]}", {"metadata": {"role": role}}), 409)


@pytest.mark.parametrize(
    "role", ["x" * 60_000, ["assistant"], {"a": 1}, None, 7, "Assistant"], ids=lambda each: str(each)[:9]
)
def test_another_value_of_role_distinguishes_nothing(api, role):
    first = api.add(LONG_MESSAGE)
    assert api.add(LONG_MESSAGE, metadata={"role": role})["id"] == first["id"]


def test_memories_of_two_roles_survive_an_export(api, conversation, tmp_path):
    for role in ("user", "assistant"):
        add_message(api, conversation, LONG_MESSAGE, role=role, remember=True)
    file = tmp_path / "export.jsonl"
    call_command("export_memories", file, "--namespace", "ours")
    Namespace.objects.create(name="theirs")
    for _ in range(2):
        call_command("import_memories", file, "--namespace", "theirs")
        assert Memory.objects.filter(namespace__name="theirs").count() == 2


def test_message_is_merged_into_existing_memory(api, conversation):
    old = api.add(LONG_MESSAGE, user_id="ada", tags=["harbour"], metadata={"own": 1})
    message = add_message(api, conversation, LONG_MESSAGE, remember=True)
    assert message["memory_id"] == old["id"]
    memory = Memory.objects.get()
    assert (memory.tags, memory.metadata["own"], memory.session_id) == (["harbour"], 1, "monday")


def test_expired_duplicate_is_replaced(api, conversation):
    old = add_message(api, conversation, LONG_MESSAGE, remember=True)["memory_id"]
    Memory.objects.update(expires_at=timezone.now())
    new = add_message(api, conversation, LONG_MESSAGE, remember=True)["memory_id"]
    assert new != old
    assert str(Memory.objects.get().pk) == new
    assert [each["memory_id"] for each in list_messages(api, conversation)["results"]] == [None, new]


def test_message_outlives_its_memory(api, conversation):
    message = add_message(api, conversation, LONG_MESSAGE, remember=True)
    assert api.delete(f"/memories/{message['memory_id']}").status_code == 204
    del message["insights"]
    assert list_messages(api, conversation)["results"] == [message | {"memory_id": None}]
    assert get_message_count(api, conversation) == 1


def test_memory_is_found_by_text_at_once_and_embedded_later(api, conversation):
    message = add_message(api, conversation, LONG_MESSAGE, remember=True)
    assert [hit["memory"]["id"] for hit in api.search("harbour Bergen", mode="text")["results"]] == [
        message["memory_id"]
    ]
    assert tasks.embed_due() == 1
    assert api.get(f"/memories/{message['memory_id']}").json()["embedded"] is True


@pytest.fixture
def wakeups(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record, for each wake-up of the worker, whether a transaction was open."""
    wakeups = []
    wake = partial(transaction.on_commit, lambda: wakeups.append(connection.in_atomic_block))
    monkeypatch.setattr(tasks.embedding_trigger, "notify_on_commit", wake)
    return wakeups


@pytest.mark.django_db(transaction=True)
def test_worker_is_woken_after_commit_of_a_memory(api, conversation, wakeups):
    add_message(api, conversation, LONG_MESSAGE)
    add_message(api, conversation, SHORT_MESSAGE, remember=True)
    assert wakeups == []
    add_message(api, conversation, LONG_MESSAGE, remember=True)
    assert wakeups == [False]


def build_max_metadata() -> dict:
    """Return the largest metadata that the database accepts: 256 KiB."""
    return {"a": "x" * (256 * 1024 - len('{"a": ""}'))}


@pytest.mark.django_db(transaction=True)
def test_failed_memory_rolls_back_the_message(api, conversation, wakeups):
    api.add(LONG_MESSAGE, user_id="ada")
    Memory.objects.update(metadata=build_max_metadata())
    wakeups.clear()
    before = fingerprint_tables()
    assert is_problem(post_message(api, conversation, LONG_MESSAGE, remember=True), 422)
    assert fingerprint_tables() == before
    assert wakeups == []
    assert add_message(api, conversation, LONG_MESSAGE)["memory_id"] is None
    assert get_message_count(api, conversation) == 1


# Insights


MARKED_MESSAGE = f"★ Insight ─────\n{LONG_MESSAGE}\n─────"


def test_insights_are_extracted_from_remembered_messages_only(api, conversation):
    assert add_message(api, conversation, MARKED_MESSAGE)["insights"] == []
    assert add_message(api, conversation, LONG_MESSAGE, remember=True)["insights"] == []
    assert not Memory.objects.filter(memory_type="insight").exists()
    [pk] = add_message(api, conversation, MARKED_MESSAGE, remember=True)["insights"]
    insight = Memory.objects.get(memory_type="insight")
    assert (str(insight.pk), insight.content) == (pk, LONG_MESSAGE)
    assert (insight.user_id, insight.session_id) == ("ada", "monday")


@pytest.mark.django_db(transaction=True)
def test_failed_insight_extraction_rolls_back_everything(api, conversation, monkeypatch, wakeups):
    monkeypatch.setattr(add, "insert_with_insights", lambda *args: Memory.objects.get(pk=uuid4()))
    before = fingerprint_tables()
    assert post_message(api, conversation, MARKED_MESSAGE, remember=True).status_code == 500
    assert fingerprint_tables() == before
    assert wakeups == []


# Reading


def add_numbered(api, conversation: str, amount: int, **fields: object) -> None:
    for each in range(amount):
        add_message(api, conversation, f"number {each}", **fields)


def test_list_is_oldest_first_unless_newest_is_requested(api, conversation):
    add_numbered(api, conversation, 3)
    add_message(api, conversation, "long ago", created_at="2020-01-01T00:00:00Z")
    texts = ["long ago", "number 0", "number 1", "number 2"]
    assert (
        list_contents(list_messages(api, conversation))
        == list_contents(list_messages(api, conversation, order="oldest"))
        == texts
    )
    assert list_contents(list_messages(api, conversation, order="newest")) == texts[::-1]


@pytest.mark.parametrize("fields", [{}, {"created_at": "2020-01-01T00:00:00Z"}], ids=["moments", "one moment"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_pages_cover_all_messages_in_both_directions(api, conversation, order, limit, fields):
    add_numbered(api, conversation, 7, **fields)
    pages = [list_messages(api, conversation, limit=limit, order=order)]
    while cursor := pages[-1]["next"]:
        pages.append(list_messages(api, conversation, limit=limit, order=order, cursor=cursor))
    texts = [f"number {each}" for each in range(7)]
    contents = [each for page in pages for each in list_contents(page)]
    assert contents == (texts if order == "oldest" else texts[::-1])
    back = [pages[-1]]
    while cursor := back[-1]["previous"]:
        back.append(list_messages(api, conversation, limit=limit, order=order, cursor=cursor))
    assert [list_contents(page) for page in back[::-1]] == [list_contents(page) for page in pages]


def test_message_added_while_paging_is_on_a_later_page(api, conversation):
    add_numbered(api, conversation, 3)
    first = list_messages(api, conversation, limit=2)
    add_message(api, conversation, "meanwhile")
    assert list_contents(list_messages(api, conversation, limit=2, cursor=first["next"])) == ["number 2", "meanwhile"]


def test_list_is_limited_to_the_conversation(api, conversation):
    other = api.post("/conversations", {}).json()["id"]
    add_message(api, conversation, "here")
    add_message(api, other, "there")
    assert list_contents(list_messages(api, conversation)) == ["here"]


def test_conversation_without_messages_has_empty_list(api, conversation):
    assert list_messages(api, conversation) == {"results": [], "next": None, "previous": None}


def test_messages_can_be_read_after_the_end(api, reader, conversation):
    add_message(api, conversation, "here")
    end_conversation(api, conversation)
    assert list_contents(list_messages(reader, conversation)) == ["here"]


def test_messages_of_foreign_conversation_are_404(api, outsider, conversation):
    add_message(api, conversation)
    assert is_problem(outsider.get(f"/conversations/{conversation}/messages"), 404)
    assert is_problem(api.get(f"/conversations/{uuid4()}/messages"), 404)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=x", "order=random", "role=user"])
def test_invalid_parameter_is_named(api, conversation, query):
    response = api.get(f"/conversations/{conversation}/messages?{query}")
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {query.split("=")[0]}


def test_reading_takes_one_statement(api, conversation, takes):
    add_numbered(api, conversation, 3)
    for order in ("oldest", "newest"):
        with takes(1):
            page = list_messages(api, conversation, limit=2, order=order)
        with takes(1):
            list_messages(api, conversation, limit=2, order=order, cursor=page["next"])


# Messages of a session


def say(api, content: str = "why?", session: str = "tuesday", **more: object) -> dict:
    response = api.post("/messages", {"session_id": session, "role": "user", "content": content, **more})
    assert response.status_code == 201, response.content
    return response.json()


def list_said(api, **parameters: object) -> list[str]:
    response = api.get(f"/messages?{urlencode(parameters)}")
    assert response.status_code == 200, response.content
    return list_contents(response.json())


def test_first_message_of_a_session_starts_a_conversation(api, namespace):
    first = say(api, "one", agent_id="writer", user_id="ada")
    second = say(api, "two", agent_id="reader", role="assistant")
    assert first["conversation_id"] == second["conversation_id"]
    row = Conversation.objects.get()
    assert (row.namespace, row.session_id, row.user_id, row.message_count) == (namespace, "tuesday", "ada", 2)
    assert list_contents(list_messages(api, str(row.pk))) == ["one", "two"]


def test_message_of_a_session_joins_its_latest_open_conversation(api, conversation):
    assert say(api, session="monday")["conversation_id"] == conversation
    end_conversation(api, conversation)
    new = say(api, session="monday")["conversation_id"]
    assert new != conversation
    assert say(api, session="monday")["conversation_id"] == new


def test_users_do_not_share_a_conversation(api, conversation):
    assert say(api, session="monday", user_id="ada")["conversation_id"] == conversation
    bens = say(api, session="monday", user_id="ben")["conversation_id"]
    assert bens != conversation
    assert Conversation.objects.get(pk=bens).user_id == "ben"


def test_history_starts_its_conversation_at_its_own_time(api):
    message = say(api, created_at="2020-01-01T09:00:00Z")
    assert api.get(f"/conversations/{message['conversation_id']}").json()["started_at"] == "2020-01-01T09:00:00Z"


def test_message_of_a_session_is_remembered(api):
    message = say(api, LONG_MESSAGE, user_id="ada", agent_id="writer", remember=True)
    memory = api.get(f"/memories/{message['memory_id']}").json()
    assert (memory["user_id"], memory["agent_id"], memory["session_id"]) == ("ada", "writer", "tuesday")


@pytest.mark.parametrize("field", ["session_id", "role", "content"])
def test_message_of_a_session_names_a_missing_field(api, field):
    body = {"session_id": "tuesday", "role": "user", "content": "why?"}
    del body[field]
    response = api.post("/messages", body)
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
    assert not Conversation.objects.exists()


def test_reader_cannot_add_and_outsider_does_not_see(api, reader, outsider):
    say(api, agent_id="writer")
    assert is_problem(reader.post("/messages", {"session_id": "tuesday", "role": "user", "content": "x"}), 403)
    assert list_said(outsider, session_id="tuesday") == list_said(outsider, agent_id="writer") == []


@pytest.mark.django_db(transaction=True)
def test_concurrent_first_messages_start_one_conversation(api):
    ids = run_at_once([partial(say, api, f"message {n}") for n in range(8)])
    assert len({each["conversation_id"] for each in ids}) == 1
    assert Conversation.objects.get().message_count == 8


def test_messages_are_listed_by_session_and_agent_across_conversations(api):
    conversation = say(api, "1", agent_id="writer")["conversation_id"]
    say(api, "2", agent_id="reader", role="assistant")
    end_conversation(api, conversation)
    say(api, "3", agent_id="writer")
    say(api, "4", agent_id="writer", session="elsewhere")
    assert list_said(api, session_id="tuesday") == ["1", "2", "3"]
    assert list_said(api, agent_id="writer") == ["1", "3", "4"]
    assert list_said(api, agent_id="writer", session_id="tuesday", order="newest") == ["3", "1"]
    assert list_said(api, session_id="tuesday", role="assistant") == ["2"]
    page = api.get("/messages?agent_id=writer&limit=2").json()
    rest = api.get(f"/messages?agent_id=writer&limit=2&cursor={page['next']}").json()
    assert list_contents(page) + list_contents(rest) == ["1", "3", "4"]


def test_without_a_filter_all_messages_are_listed(api, conversation):
    add_message(api, conversation, "one")
    say(api, "two")
    assert list_said(api) == ["one", "two"]


# Deleting


def delete_last(api, conversation: str, **parameters: object):
    return api.delete(f"/conversations/{conversation}/messages/last?{urlencode(parameters)}")


def test_last_message_is_deleted_and_returned(api, conversation):
    add_message(api, conversation, "one")
    two = add_message(api, conversation, "two")
    response = delete_last(api, conversation)
    assert (response.status_code, response.json()["id"]) == (200, two["id"])
    assert list_contents(list_messages(api, conversation)) == ["one"]
    assert get_message_count(api, conversation) == 1
    assert delete_last(api, conversation).json()["content"] == "one"
    assert is_problem(delete_last(api, conversation), 404)
    assert get_message_count(api, conversation) == 0


@pytest.mark.django_db(transaction=True)
def test_concurrent_deletions_delete_one_message_each(api, conversation):
    for number in range(6):
        add_message(api, conversation, str(number))
    gone = run_at_once([lambda: delete_last(api, conversation).json()["content"] for _ in range(4)])
    assert sorted(gone) == ["2", "3", "4", "5"]
    assert get_message_count(api, conversation) == 2


def test_conversation_is_deleted_with_its_messages(api, conversation):
    add_message(api, conversation)
    other = say(api)
    assert api.delete(f"/conversations/{conversation}").status_code == 204
    assert is_problem(api.get(f"/conversations/{conversation}"), 404)
    assert [str(each.pk) for each in Message.objects.all()] == [other["id"]]
    assert is_problem(api.delete(f"/conversations/{conversation}"), 404)


@pytest.mark.parametrize("path", ["", "/messages/last"])
def test_memories_stay_unless_they_are_to_be_forgotten(api, conversation, path):
    message = add_message(api, conversation, LONG_MESSAGE, remember=True)
    assert api.delete(f"/conversations/{conversation}{path}").status_code in (200, 204)
    assert api.get(f"/memories/{message['memory_id']}").status_code == 200
    again = say(api, LONG_MESSAGE, session="wednesday", user_id="ada", remember=True)
    assert again["memory_id"] == message["memory_id"]
    assert api.delete(f"/conversations/{again['conversation_id']}{path}?forget=true").status_code in (200, 204)
    assert not Memory.objects.exists()


@pytest.mark.parametrize("path", ["", "/messages/last"])
def test_memory_of_another_message_too_is_not_forgotten(api, conversation, path):
    message = add_message(api, conversation, LONG_MESSAGE, remember=True)
    other = say(api, LONG_MESSAGE, session="wednesday", user_id="ada", remember=True)
    assert other["memory_id"] == message["memory_id"]
    assert api.delete(f"/conversations/{conversation}{path}?forget=true").status_code in (200, 204)
    assert Memory.objects.exists()


@pytest.mark.parametrize("path", ["", "/messages/last"])
def test_outsider_and_reader_delete_nothing(api, outsider, reader, conversation, path):
    add_message(api, conversation)
    before = fingerprint_tables()
    for caller, status in ((outsider, 404), (reader, 403)):
        assert is_problem(caller.delete(f"/conversations/{conversation}{path}"), status)
    assert is_problem(api.delete(f"/conversations/{uuid4()}{path}"), 404)
    assert fingerprint_tables() == before
