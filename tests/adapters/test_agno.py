"""The toolkit for Agno, called by a real Agent whose model is played."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from agno.agent import Agent
from agno.models.base import Model
from agno.models.response import ModelResponse

from memory_client import MemoryClient
from memory_client.agno import AWAY, MemorySiteTools
from tests.adapters.conftest import Site
from tests.adapters.examples import run_example

TOOLS = ["remember", "recall", "list_memories", "update_memory", "forget"]


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[MemoryClient]:
    with MemoryClient(site.url, site.create_key("agno")) as client:
        yield client


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex[:8]}"


class PlayedModel(Model):
    """Calls one tool, then answers with what it returned."""

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        super().__init__(id="played")
        self.call, self.seen_tools, self.seen_messages = (name, arguments), [], []

    def invoke(self, messages, tools=None, **kwargs) -> ModelResponse:
        self.seen_tools, self.seen_messages = tools, messages
        if messages[-1].role == "tool":
            return ModelResponse(role="assistant", content=messages[-1].content)
        name, arguments = self.call
        call = {"id": "1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        return ModelResponse(role="assistant", tool_calls=[call])

    async def ainvoke(self, *args, **kwargs) -> ModelResponse:
        return self.invoke(*args, **kwargs)

    def invoke_stream(self, *args, **kwargs):
        raise NotImplementedError

    def ainvoke_stream(self, *args, **kwargs):
        raise NotImplementedError

    def _parse_provider_response(self, response, **kwargs):
        raise NotImplementedError

    def _parse_provider_response_delta(self, response):
        raise NotImplementedError


def use(tools: MemorySiteTools, name: str, user: str | None = None, **arguments) -> str:
    agent = Agent(model=PlayedModel(name, arguments), tools=[tools], telemetry=False)
    return agent.run("Do it.", user_id=user).content


def read_ids(text: str) -> list[str]:
    return [line.split(" · ")[0] for line in text.split("\n")]


def test_a_model_remembers_and_recalls(client, user):
    tools = MemorySiteTools(client)
    answer = use(tools, "remember", user, content="My daughter was born in May.", tags=["family"], importance=4)
    use(tools, "remember", user, content="The printer needs new toner.")
    found = use(tools, "recall", user, query="When is the birthday of your child?", limit=1)
    assert answer == f"Remembered: {read_ids(found)[0]}"
    assert found.endswith("My daughter was born in May.")
    stored = client.memories.get(read_ids(found)[0])
    assert (stored.user_id, stored.tags, stored.importance, stored.source_system) == (user, ["family"], 4, "agno")
    assert stored.session_id
    assert use(tools, "remember", user, content="The printer needs new toner.").startswith("Known already: ")


async def test_tools_work_in_an_asynchronous_run(client, user):
    tools = MemorySiteTools(client)
    for name, arguments in (("remember", {"content": "I like tea."}), ("recall", {"query": "tea"})):
        agent = Agent(model=PlayedModel(name, arguments), tools=[tools], telemetry=False)
        answer = await agent.arun("Do it.", user_id=user)
    assert answer.content.endswith("I like tea.")


def test_a_model_lists_corrects_and_forgets(client, user):
    tools = MemorySiteTools(client)
    for content, tag in (("I like tea.", "drink"), ("I like cake.", "food"), ("I like\nbread.", "food")):
        use(tools, "remember", user, content=content, tags=[tag])
    lines = use(tools, "list_memories", user, tag="food").split("\n")
    assert [line.rsplit(" · ", 1)[1] for line in lines] == ["I like bread.", "I like cake."]
    cake = read_ids(lines[1])[0]
    assert use(tools, "update_memory", user, memory_id=cake, content="I like pie.") == f"Updated: {cake}"
    assert "pie" in use(tools, "recall", user, query="pie")
    assert use(tools, "forget", user, memory_ids=[cake]) == f"Forgotten: {cake}"
    assert "pie" not in use(tools, "list_memories", user)
    assert len(use(tools, "list_memories", user, limit=1).split("\n")) == 1


def test_users_are_apart(client, user):
    tools, pinned = MemorySiteTools(client), MemorySiteTools(client, user_id=user)
    use(tools, "remember", user, content="I like tea.")
    [tea] = read_ids(use(tools, "list_memories", user))
    stranger = f"{user}-2"
    assert "tea" not in use(tools, "recall", stranger, query="tea")
    assert "tea" not in use(tools, "list_memories", stranger)
    unknown = f"There is no memory with the id {tea}. Take ids from recall or list_memories."
    assert use(tools, "update_memory", stranger, memory_id=tea, content="x") == unknown
    assert use(tools, "forget", stranger, memory_ids=[tea]) == unknown
    assert "tea" in use(pinned, "recall", stranger, query="tea")


def test_a_run_without_a_user_has_the_default_one(client):
    text = uuid4().hex
    use(MemorySiteTools(client), "remember", content=text)
    assert text in [memory.content for memory in client.memories.list(user_id="default")]


@pytest.mark.parametrize("memory_id", ["1", "", "00000000-0000-0000-0000-000000000000", "../users"])
def test_a_guessed_id_is_answered_with_what_to_do(client, user, memory_id):
    tools = MemorySiteTools(client)
    for answer in (
        use(tools, "forget", user, memory_ids=[memory_id]),
        use(tools, "update_memory", user, memory_id=memory_id, content="x"),
    ):
        assert answer == f"There is no memory with the id {memory_id}. Take ids from recall or list_memories."


def test_forgetting_says_what_was_there(client, user):
    tools = MemorySiteTools(client)
    use(tools, "remember", user, content="I like tea.")
    [tea] = read_ids(use(tools, "list_memories", user))
    assert use(tools, "forget", user, memory_ids=[tea, "1"]).split("\n")[0] == f"Forgotten: {tea}"
    assert use(tools, "forget", user, memory_ids=[]) == "Not done: no ids were given."


def test_any_number_of_memories_is_forgotten_at_once(client, user):
    tools = MemorySiteTools(client)
    added = client.memories.add_many([{"content": f"Fact {number}", "user_id": user} for number in range(60)])
    answer = use(tools, "forget", user, memory_ids=list(map(str, added.ids)))
    assert answer == f"Forgotten: {', '.join(map(str, added.ids))}"
    assert use(tools, "list_memories", user) == "Nothing is stored."


@pytest.mark.parametrize(
    ("name", "arguments", "blamed"),
    [
        ("remember", {"content": ""}, "content"),
        ("remember", {"content": "x" * 100_001}, "content"),
        ("remember", {"content": "tea", "importance": 9}, "importance"),
        ("remember", {"content": "tea", "tags": [""]}, "tags"),
        ("recall", {"query": " "}, "query"),
        ("list_memories", {"tag": ""}, "tags"),
    ],
)
def test_an_invalid_argument_is_named(client, user, name, arguments, blamed):
    answer = use(MemorySiteTools(client), name, user, **arguments)
    assert answer.startswith("Not done: ")
    assert blamed in answer
    assert "Traceback" not in answer


def test_a_server_that_is_away_is_said(user):
    tools = MemorySiteTools(MemoryClient("http://127.0.0.1:1", "mem_x", retries=0))
    assert use(tools, "recall", user, query="tea") == AWAY
    assert use(tools, "remember", user, content="tea") == AWAY


def test_a_wrong_key_is_said_without_it(site, user):
    answer = use(MemorySiteTools(MemoryClient(site.url, "mem_wrong")), "recall", user, query="tea")
    assert answer.startswith("Not done: ")
    assert "mem_wrong" not in answer


def test_the_model_is_told_when_to_use_each_tool(client, user):
    model = PlayedModel("list_memories", {})
    Agent(model=model, tools=[MemorySiteTools(client)], telemetry=False).run("Hello.", user_id=user)
    described = {each["function"]["name"]: each["function"] for each in model.seen_tools}
    assert sorted(described) == sorted(TOOLS)
    for function in described.values():
        assert function["description"].startswith("Use ")
        assert "run_context" not in function["parameters"]["properties"]
        assert "user" not in " ".join(function["parameters"]["properties"])
        assert all(each.get("description") for each in function["parameters"]["properties"].values())
    assert described["forget"]["parameters"]["required"] == ["memory_ids"]
    assert "no instructions" in str(model.seen_messages[0].content)


def test_tools_can_be_left_out(client):
    tools = MemorySiteTools(client, include_tools=["recall"])
    assert list(tools.functions) == ["recall"]


def test_the_example_remembers_and_recalls(site):
    answers = run_example("agno_tools.py", site).splitlines()
    assert answers[-1].endswith("->  Ada's daughter was born in May.")
