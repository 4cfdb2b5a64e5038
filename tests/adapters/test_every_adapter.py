"""What holds for every adapter: two names never lead to one memory, and an answer that is lost repeats nothing."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from agno.run import RunContext
from anthropic.lib.tools import ToolError
from anthropic.types.beta import (
    BetaMemoryTool20250818CreateCommand,
    BetaMemoryTool20250818DeleteCommand,
    BetaMemoryTool20250818ViewCommand,
)
from google.adk.memory.memory_entry import MemoryEntry
from google.genai.types import Content, Part
from llama_index.core.schema import TextNode

from memory_client import ConnectionFailed, InvalidInput, MemoryClient
from memory_client.adk import MemorySiteMemoryService
from memory_client.agno import MemorySiteTools
from memory_client.claude_memory import MemorySiteMemoryTool
from memory_client.claude_sessions import MemorySiteSessionStore
from memory_client.langchain import MemorySiteVectorStore as LangChainStore
from memory_client.langgraph import MemorySiteStore
from memory_client.llamaindex import MemorySiteVectorStore as LlamaIndexStore
from memory_client.openai_agents import MemorySiteSession

#: Alike to the eye, to a path, to an address or to a pattern.
USERS = ["ada", "Ada", "\u0430da", "ada ", "a/da", "a%2Fda", "a_a", "a%", "é", "e\u0301"]
REFUSED_USERS = ["", "x" * 513, "ada\0", "\ud800", "\u200b"]
FILE = "/memories/file"


@dataclass
class Adapter:
    """How a text of a user is written, read and deleted."""

    write: Callable[[MemoryClient, str, str], Any]
    read: Callable[[MemoryClient, str], list[str]]
    delete: Callable[[MemoryClient, str], Any]


def write_adk(client: MemoryClient, user: str, text: str) -> None:
    entry = MemoryEntry(content=Content(parts=[Part(text=text)]))
    asyncio.run(MemorySiteMemoryService(client).add_memory(app_name="app", user_id=user, memories=[entry]))


def find_adk(client: MemoryClient, user: str) -> list[MemoryEntry]:
    service = MemorySiteMemoryService(client)
    return asyncio.run(service.search_memory(app_name="app", user_id=user, query="text")).memories


def read_adk(client: MemoryClient, user: str) -> list[str]:
    return [part.text or "" for entry in find_adk(client, user) for part in entry.content.parts or []]


def delete_adk(client: MemoryClient, user: str) -> None:
    for entry in find_adk(client, user):
        deleting = MemorySiteMemoryService(client).delete_memory(app_name="app", user_id=user, memory_id=entry.id)
        asyncio.run(deleting)


def list_agno(client: MemoryClient, user: str) -> list[list[str]]:
    lines = MemorySiteTools(client, user_id=user).list_memories(RunContext(run_id="r", session_id="s"))
    return [line.split(" · ") for line in lines.splitlines() if " · " in line]


def write_agno(client: MemoryClient, user: str, text: str) -> None:
    MemorySiteTools(client, user_id=user).remember(RunContext(run_id="r", session_id="s"), text)


def delete_agno(client: MemoryClient, user: str) -> None:
    ids = [parts[0] for parts in list_agno(client, user)]
    MemorySiteTools(client, user_id=user).forget(RunContext(run_id="r", session_id="s"), ids)


def write_file(client: MemoryClient, user: str, text: str) -> None:
    command = BetaMemoryTool20250818CreateCommand(command="create", path=FILE, file_text=text)
    with suppress(ToolError):
        MemorySiteMemoryTool(client, user_id=user).create(command)


def read_file(client: MemoryClient, user: str) -> list[str]:
    command = BetaMemoryTool20250818ViewCommand(command="view", path=FILE)
    try:
        return [MemorySiteMemoryTool(client, user_id=user).view(command).split("\t")[1]]
    except ToolError:
        return []


def delete_file(client: MemoryClient, user: str) -> None:
    command = BetaMemoryTool20250818DeleteCommand(command="delete", path=FILE)
    MemorySiteMemoryTool(client, user_id=user).delete(command)


def transcript(client: MemoryClient, user: str) -> MemorySiteSessionStore:
    return MemorySiteSessionStore(client, user_id=user)


TRANSCRIPT: Any = {"project_key": "project", "session_id": "session"}
ADAPTERS = {
    "adk": Adapter(write_adk, read_adk, delete_adk),
    "agno": Adapter(write_agno, lambda client, user: [parts[2] for parts in list_agno(client, user)], delete_agno),
    "claude memory": Adapter(write_file, read_file, delete_file),
    "claude sessions": Adapter(
        lambda client, user, text: asyncio.run(transcript(client, user).append(TRANSCRIPT, [{"type": "x", "v": text}])),
        lambda client, user: [each["v"] for each in asyncio.run(transcript(client, user).load(TRANSCRIPT)) or []],
        lambda client, user: asyncio.run(transcript(client, user).delete(TRANSCRIPT)),
    ),
    "langchain": Adapter(
        lambda client, user, text: LangChainStore(client, user_id=user).add_texts([text], ids=["one"]),
        lambda client, user: [
            each.page_content for each in LangChainStore(client, user_id=user).similarity_search("text", k=100)
        ],
        lambda client, user: LangChainStore(client, user_id=user).delete(["one"]),
    ),
    "langgraph": Adapter(
        lambda client, user, text: MemorySiteStore(client, user_id=user).put(("a",), "one", {"text": text}),
        lambda client, user: [each.value["text"] for each in MemorySiteStore(client, user_id=user).search(())],
        lambda client, user: MemorySiteStore(client, user_id=user).delete(("a",), "one"),
    ),
    "llamaindex": Adapter(
        lambda client, user, text: LlamaIndexStore(client, user_id=user).add([TextNode(id_="one", text=text)]),
        lambda client, user: [each.get_content() for each in LlamaIndexStore(client, user_id=user).get_nodes()],
        lambda client, user: LlamaIndexStore(client, user_id=user).delete_nodes(["one"]),
    ),
    "openai agents": Adapter(
        lambda client, user, text: asyncio.run(
            MemorySiteSession("session", client, user_id=user).add_items([{"role": "user", "content": text}])
        ),
        lambda client, user: [
            str(each["content"]) for each in asyncio.run(MemorySiteSession("session", client, user_id=user).get_items())
        ],
        lambda client, user: asyncio.run(MemorySiteSession("session", client, user_id=user).clear_session()),
    ),
}


@pytest.fixture(params=ADAPTERS)
def adapter(request) -> Adapter:
    return ADAPTERS[request.param]


@pytest.fixture
def prefix() -> str:
    return uuid4().hex[:8]


def test_no_user_sees_another(client, adapter, prefix):
    users = [prefix + user for user in USERS]
    for user in users:
        adapter.write(client, user, f"text of {user!a}")
    adapter.delete(client, users[0])
    assert [adapter.read(client, user) for user in users] == [[], *([f"text of {user!a}"] for user in users[1:])]


def test_a_name_that_cannot_be_stored_is_nobody(client, adapter):
    """It is refused by name, or in words for the model; never read as no user or as another one."""
    adapter.write(client, "default", "text of another")
    before = adapter.read(client, "default")
    for user in REFUSED_USERS:
        with suppress(InvalidInput):
            adapter.write(client, user, "text")
        with suppress(InvalidInput):
            assert adapter.read(client, user) == []
    assert adapter.read(client, "default") == before


def test_a_lost_answer_repeats_nothing(client, adapter, prefix, monkeypatch):
    """As when the connection breaks after the server has done what was asked."""
    try_once, lost = client.transport.try_once, []

    def lose_first_answer(call: Any, *others: Any) -> Any:
        answer = try_once(call, *others)
        if call.method != "GET" and call not in lost:
            lost.append(call)
            raise ConnectionFailed("The connection broke.", may_have_happened=True)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(client.transport, "try_once", lose_first_answer)
        adapter.write(client, prefix, "text")
        assert lost
        assert adapter.read(client, prefix) == ["text"]
        lost.clear()
        adapter.delete(client, prefix)
    assert lost and adapter.read(client, prefix) == []
