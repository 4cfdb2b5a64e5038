"""Our store keeps the contracts that the SDK's own suite checks, and behaves as the SDK's store in memory does."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import anyio
import pytest
from claude_agent_sdk import (
    InMemorySessionStore,
    SessionKey,
    SessionStore,
    get_session_messages_from_store,
    list_sessions_from_store,
    project_key_for_directory,
    rename_session_via_store,
)
from claude_agent_sdk.testing import run_session_store_conformance

from memory_client import MemoryClient, transcript
from memory_client.claude_sessions import MAX_STATES, MemorySiteSessionStore, name_transcript
from memory_client.errors import NotAuthenticated


@pytest.fixture(params=["theirs", "ours"])
def store(request, client) -> SessionStore:
    return InMemorySessionStore() if request.param == "theirs" else MemorySiteSessionStore(client)


@pytest.fixture
def ours(client) -> MemorySiteSessionStore:
    return MemorySiteSessionStore(client)


@pytest.fixture
def key() -> SessionKey:
    return {"project_key": f"-home-ada-{uuid4().hex}", "session_id": str(uuid4())}


def build(*numbers: int, **fields: Any) -> list[Any]:
    return [{"type": "mark", "n": number, **fields} for number in numbers]


def build_message(text: str, role: str = "user", **fields: Any) -> dict[str, Any]:
    return {
        **{"type": role, "uuid": str(uuid4()), "timestamp": "2026-01-01T09:00:00.000Z", "message": {"role": role}},
        **fields,
    } | {"message": {"role": role, "content": text}}


class IsolatedStore(MemorySiteSessionStore):
    """A store whose projects are its own, as a namespace of its own would make them, which takes a second to create."""

    def __init__(self, client: MemoryClient) -> None:
        super().__init__(client)
        self.run = uuid4().hex

    def own(self, key: Any) -> Any:
        return {**key, "project_key": f"{self.run}{key['project_key']}"}

    async def append(self, key, entries):
        await super().append(self.own(key), entries)

    async def load(self, key):
        return await super().load(self.own(key))

    async def list_sessions(self, project_key):
        return await super().list_sessions(f"{self.run}{project_key}")

    async def list_session_summaries(self, project_key):
        return await super().list_session_summaries(f"{self.run}{project_key}")

    async def delete(self, key):
        await super().delete(self.own(key))

    async def list_subkeys(self, key):
        return await super().list_subkeys(self.own(key))


async def test_official_suite(client):
    await run_session_store_conformance(lambda: IsolatedStore(client))


# Side by side


async def test_entries_come_back_in_order(store, key):
    await store.append(key, build(3, 1))
    await store.append(key, build(2))
    assert await store.load(key) == build(3, 1, 2)


deep: Any = "end"
for _ in range(30):
    deep = {"inner": [deep]}
ENTRIES: dict[str, Any] = {
    "text": build_message("When does it open?"),
    "answer": build_message("", "assistant") | {"message": {"content": [{"type": "text", "text": "At nine."}]}},
    "tool result": build_message("")
    | {"message": {"role": "user", "content": [{"type": "tool_result", "content": "x"}]}},
    "empty": {"type": "x"},
    "blank text": build_message(" \n "),
    "zero and surrogate": build_message("a\0b", other="\udc80"),
    "deep": build_message("x", tree=deep),
    "numbers": {"type": "x", "n": [2**60, -1, 1.5, 1e300, True, None]},
    "long text": build_message("é" * 250_000),
    "large": {"type": "image", "uuid": str(uuid4()), "data": "iVBORw0K" * 30_000},
    "larger than a request": {"type": "image", "data": "AAAA" * 100_000},
    "names of ours": {"type": "x", "memory_client": {"json": True}, "content": "x"},
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
async def test_entry_of_any_shape_and_size_comes_back_as_it_was(store, key, entry, monkeypatch):
    monkeypatch.setattr(transcript, "MAX_REQUEST", 300_000)
    await store.append(key, [*build(1), entry, *build(2)])
    assert await store.load(key) == [*build(1), entry, *build(2)]


KEYS: list[Any] = [
    {"project_key": "ü/é: %+", "session_id": "a:b", "subpath": "../x/context"},
    {"project_key": "p" * 300, "session_id": "s" * 100, "subpath": "subagents/" + "a" * 300},
    {"project_key": ".", "session_id": "analytics"},
]


@pytest.mark.parametrize("names", KEYS, ids=["signs", "long", "dots"])
async def test_any_text_is_a_key(store, key, names):
    key = {**names, "project_key": names["project_key"] + key["project_key"]}
    await store.append({**key}, build(1))
    main = {name: value for name, value in key.items() if name != "subpath"}
    assert await store.load(key) == build(1)
    assert await store.list_subkeys(main) == ([key["subpath"]] if "subpath" in key else [])
    await store.delete(main)
    assert await store.load(key) is None


def test_keys_that_look_alike_are_told_apart():
    long = "p" * 300
    names = [
        *({"project_key": "a:b", "session_id": "c"}, {"project_key": "a", "session_id": "b:c"}),
        *({"project_key": f"{long}1", "session_id": "c"}, {"project_key": f"{long}2", "session_id": "c"}),
        {"project_key": "a", "session_id": "b", "subpath": "c"},
    ]
    found = {name_transcript(each) for each in names}
    assert len(found) == 5
    assert max(map(len, found)) <= 255


async def test_sessions_of_a_project_that_is_another_ones_beginning(store, key):
    longer = {**key, "project_key": key["project_key"] + "-more"}
    await store.append(longer, build(1))
    assert await store.list_sessions(key["project_key"]) == []
    assert await store.list_session_summaries(key["project_key"]) == []


async def test_times_are_now_and_rise(store, key):
    before = time.time() * 1000 - 1
    times = []
    for number in range(3):
        await store.append(key, build(number))
        times += [each["mtime"] for each in await store.list_sessions(key["project_key"])]
    assert before <= times[0] < times[1] < times[2] < before + 600_000


async def test_summary_is_that_of_all_entries(store, key):
    await store.append(key, [build_message("When does it open?", cwd="/home/ada", gitBranch="main")])
    await store.append(key, [{"type": "ai-title", "aiTitle": "The harbour"}, build_message("And on Sundays?")])
    await store.append({**key, "subpath": "subagents/agent-1"}, [build_message("Look.", cwd="/tmp")])
    [summary] = await store.list_session_summaries(key["project_key"])
    assert summary["session_id"] == key["session_id"]
    expected = {
        "first_prompt": "When does it open?",
        "cwd": "/home/ada",
        "git_branch": "main",
        "ai_title": "The harbour",
    }
    assert summary["data"].items() >= expected.items()


async def test_sdk_lists_reads_and_renames_sessions(store, tmp_path):
    session = str(uuid4())
    key: SessionKey = {"project_key": project_key_for_directory(str(tmp_path)), "session_id": session}
    first, second = build_message("When?", parentUuid=None), build_message("At nine.", "assistant")
    await store.append(key, [first, second | {"parentUuid": first["uuid"]}])
    await rename_session_via_store(store, session, "Harbour", directory=str(tmp_path))
    [info] = await list_sessions_from_store(store, directory=str(tmp_path))
    assert (info.session_id, info.custom_title, info.first_prompt) == (session, "Harbour", "When?")
    messages = await get_session_messages_from_store(store, session, directory=str(tmp_path))
    assert [each.message["content"] for each in messages] == ["When?", "At nine."]


# What only ours does


async def test_entry_with_a_uuid_is_stored_once_in_each_transcript(ours, key):
    one, two = build(1, uuid="one"), build(2, uuid="two")
    await ours.append(key, one)
    await ours.append(key, one + two + two)
    await ours.append({**key, "subpath": "subagents/a"}, one)
    await ours.append(key, build(3))
    await ours.append(key, build(3))
    assert await ours.load(key) == one + two + build(3, 3)
    assert await ours.load({**key, "subpath": "subagents/a"}) == one


async def test_large_entry_that_was_sent_in_part_is_completed(client, key, monkeypatch):
    """As after a crash between two of its requests."""
    monkeypatch.setattr(transcript, "MAX_REQUEST", 300_000)
    entry = {"type": "x", "uuid": "large", "data": "ab" * 200_000}
    store = MemorySiteSessionStore(client)
    add, sent = client.conversations.add_session_messages, []

    def fail_second(*args, **kwargs):
        sent.append(args)
        if len(sent) == 2:
            raise ConnectionError
        return add(*args, **kwargs)

    client.conversations.add_session_messages = fail_second
    try:
        with pytest.raises(ConnectionError):
            await store.append(key, [*build(1, uuid="first"), entry])
    finally:
        del client.conversations.add_session_messages
    assert await store.load(key) == build(1, uuid="first")
    await store.append(key, [*build(1, uuid="first"), entry, *build(2)])
    assert await store.load(key) == [*build(1, uuid="first"), entry, *build(2)]


async def test_writers_at_once_lose_nothing_and_keep_their_order(client, key):
    async def write(writer: int) -> None:
        store = MemorySiteSessionStore(client)
        for number in range(5):
            await store.append(key, build(number, writer=writer, customTitle=f"{writer} {number}"))

    await asyncio.gather(*map(write, range(6)))
    store = MemorySiteSessionStore(client)
    entries: Any = await store.load(key)
    assert len(entries) == 30
    for writer in range(6):
        assert [each["n"] for each in entries if each["writer"] == writer] == list(range(5))
    [summary] = await store.list_session_summaries(key["project_key"])
    assert summary["data"]["custom_title"] == entries[-1]["customTitle"]


async def test_summary_that_is_too_large_is_left_to_the_sdk(ours, key, client):
    await ours.append(key, [build_message("first prompt"), {"type": "x", "lastPrompt": "x" * 60_000}])
    await ours.append(key, [{"type": "x", "lastPrompt": "short"}])
    assert await ours.list_session_summaries(key["project_key"]) == []
    assert len(await ours.list_sessions(key["project_key"])) == 1
    assert len(await MemorySiteSessionStore(client).load(key) or []) == 3


async def test_many_entries_are_added_a_batch_and_read_a_hundred_in_a_request(ours, key, client, monkeypatch):
    entries = [build_message(f"line {number}") for number in range(1_500)]
    requests = []
    send = client.transport.send
    monkeypatch.setattr(
        client.transport, "send", lambda call, kind=None: (requests.append(str(call)), send(call, kind))[1]
    )
    for start in range(0, 1_500, 500):
        await ours.append(key, entries[start : start + 500])
    assert len(requests) == 1 + 3
    requests.clear()
    assert await ours.load(key) == entries
    assert len(requests) <= 1 + 15 + 1


async def test_people_read_the_transcript_and_it_belongs_to_its_user(client, key):
    await MemorySiteSessionStore(client, user_id="ada").append(key, [ENTRIES["text"], ENTRIES["answer"]])
    [conversation] = client.conversations.list(session_id=name_transcript(key))
    assert conversation.user_id == "ada"
    messages = [(each.role, each.content) for each in client.conversations.messages(conversation.id)]
    assert messages == [("user", "When does it open?"), ("assistant", "At nine.")]


async def test_states_of_many_sessions_are_not_all_remembered(ours, key):
    ours.states = dict.fromkeys(map(str, range(MAX_STATES)))
    await ours.append(key, build(1))
    assert len(ours.states) == MAX_STATES


async def test_errors_are_those_of_the_client(site, key):
    with pytest.raises(NotAuthenticated):
        await MemorySiteSessionStore(MemoryClient(site.url, "mem_wrong_key")).append(key, build(1))


def test_store_is_used_from_several_event_loops(ours, key):
    for number in range(2):
        anyio.run(ours.append, key, build(number))
    assert anyio.run(ours.load, key) == build(0, 1)


def test_example(run_example):
    assert run_example("claude_agent_sessions.py").splitlines() == [
        "Harbour: When does the harbour open?",
        "user: When does the harbour open?",
        "assistant: At nine.",
    ]
