"""Our session behaves as the SDK's own SQLite session does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from agents import Agent, ModelResponse, RunConfig, Runner, Usage, function_tool
from agents.memory import Session, SessionSettings, SQLiteSession
from agents.models.interface import Model
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from memory_client import MemoryClient
from memory_client.errors import ConnectionFailed, InvalidInput, NotAuthenticated, TooLarge
from memory_client.openai_agents import MemorySiteSession

Maker = Callable[..., Session]


@pytest.fixture(params=["theirs", "ours"])
def make(request, client, tmp_path) -> Maker:
    """Make a session of the SDK, or of ours. Those with the same id share what they hold."""
    run = uuid4().hex

    def make_session(session_id: str = "a", **settings: Any) -> Session:
        if request.param == "theirs":
            return SQLiteSession(session_id, tmp_path / "sessions.db", **settings)
        return MemorySiteSession(f"{run} {session_id}", client, **settings)

    return make_session


@pytest.fixture
def session(make) -> Session:
    return make()


def say(*texts: str) -> list[Any]:
    return [{"role": "user", "content": text} for text in texts]


def list_texts(items: list[Any]) -> list[str]:
    return [each["content"] for each in items]


def test_it_is_a_session(session):
    assert isinstance(session, Session)


async def test_new_session_is_empty(session):
    assert await session.get_items() == []
    assert await session.get_items(limit=3) == []
    assert await session.pop_item() is None
    await session.clear_session()


async def test_items_come_back_in_the_order_in_which_they_were_added(session):
    await session.add_items(say("one", "two"))
    await session.add_items(say("three"))
    assert await session.get_items() == say("one", "two", "three")


async def test_no_items_are_added(session):
    await session.add_items([])
    assert await session.get_items() == []


@pytest.mark.parametrize("limit", [-1, 0, 1, 2, 3, 9, None])
async def test_limit_selects_the_newest_items_in_order(session, limit):
    await session.add_items(say("one", "two", "three"))
    expected = {-1: 3, 9: 3, None: 3}.get(limit, limit)
    assert list_texts(await session.get_items(limit)) == ["one", "two", "three"][3 - expected :]


@pytest.mark.parametrize("settings", [SessionSettings(limit=2), {"limit": 2}], ids=["object", "dictionary"])
async def test_settings_have_a_limit_that_an_argument_overrides(make, settings):
    session = make(session_settings=settings)
    assert session.session_settings == SessionSettings(limit=2)
    await session.add_items(say("one", "two", "three"))
    assert list_texts(await session.get_items()) == ["two", "three"]
    assert list_texts(await session.get_items(1)) == ["three"]
    assert len(await session.get_items(9)) == 3


async def test_settings_are_empty_by_default_and_unknown_ones_are_refused(make):
    assert make().session_settings == SessionSettings()
    with pytest.raises((TypeError, ValueError)):
        make(session_settings={"limits": 2})


async def test_pop_removes_and_returns_the_newest_item(session):
    await session.add_items(say("one", "two"))
    assert await session.pop_item() == say("two")[0]
    assert await session.get_items() == say("one")
    await session.add_items(say("three"))
    assert [await session.pop_item() for _ in range(3)] == [*say("three", "one"), None]


async def test_cleared_session_begins_again(session):
    await session.add_items(say("one", "two"))
    await session.clear_session()
    assert await session.get_items() == []
    await session.add_items(say("three"))
    assert await session.get_items() == say("three")


async def test_sessions_are_separate(make):
    one, other = make("one"), make("other")
    await one.add_items(say("one"))
    await other.add_items(say("other"))
    assert await one.pop_item() == say("one")[0]
    await one.clear_session()
    assert await other.get_items() == say("other")


async def test_another_object_of_the_same_id_has_the_same_items(make):
    await make().add_items(say("one"))
    await make().add_items(say("two"))
    assert list_texts(await make().get_items()) == ["one", "two"]


@pytest.mark.parametrize("session_id", ["a b", "ü/é", "'; DROP TABLE x; --", "%_\\", "日本"])
async def test_any_text_is_an_id(make, session_id):
    session = make(session_id)
    await session.add_items(say("one"))
    assert await session.get_items() == say("one")


TEXTS = {
    "languages": "¿Qué? 你好 שלום こんにちは",
    "emoji": "👩‍👩‍👧 🎉",
    "quotes": "' \" \\ ; -- %s {}",
    "white space": "\n\t  lines \r\n  and  tabs\t\n",
    "blank": " \n",
    "empty": "",
    "zero": "a\0b",
    "invisible": "\u3164\u200b",
    "surrogate": "a\ud83d",
    "long": "ab \u00e9" * 60_000,
    "spaces": " " * 250_000,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("role", ["user", "developer"])
async def test_any_text_comes_back_as_it_was(session, role, text):
    items: list[Any] = [{"role": role, "content": text}, *say("after")]
    await session.add_items(items)
    assert await session.get_items() == items
    assert await session.get_items(2) == items
    assert await session.pop_item() == items[1]
    assert await session.pop_item() == items[0]
    assert await session.get_items() == []


def build_answer(text: str, **fields: Any) -> dict[str, Any]:
    return {
        **{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", **fields},
        "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
    }


deep: Any = "end"
for _ in range(20):
    deep = {"inner": [deep]}
ITEMS: dict[str, Any] = {
    "answer": build_answer("The harbour opens at nine."),
    "empty answer": build_answer(""),
    "answer in two parts": build_answer("x") | {"content": [{"type": "output_text", "text": "a"}] * 2},
    "message without content": {"role": "user"},
    "call": {"type": "function_call", "call_id": "c", "name": "find", "arguments": '{"a": 1}', "id": "fc_1"},
    "output": {"type": "function_call_output", "call_id": "c", "output": "nine\n"},
    "reasoning": {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AAAA" * 50_000},
    "image": {
        "role": "user",
        "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{'iVBORw0K' * 40_000}"}],
    },
    "deep": build_answer("x", provider_data=deep),
    "many keys": build_answer("x", provider_data={str(number): number for number in range(300)}),
    "large rest": build_answer("x", provider_data="é" * 70_000),
    "zero in the rest": build_answer("x", provider_data="a\0b"),
    "surrogate in the rest": build_answer("x", provider_data="\udc00"),
    "numbers": build_answer("x", n=[2**53, 2**53 + 1, -(10**30), 1e308, 0.1, 1.0, None, True]),
    "name of ours": {"role": "user", "content": "x", "memory_client": {"json": True}},
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS.keys())
async def test_item_of_any_shape_comes_back_as_it_was(session, item):
    await session.add_items([*say("before"), item, *say("after")])
    assert await session.get_items() == [*say("before"), item, *say("after")]
    assert await session.get_items(2) == [item, *say("after")]
    await session.pop_item()
    assert await session.pop_item() == item
    assert await session.get_items() == say("before")


async def test_what_is_no_json_is_refused_and_nothing_is_added(session):
    with pytest.raises(TypeError):
        await session.add_items([*say("one"), {"role": "user", "content": object()}])
    assert await session.get_items() == []


async def test_many_items_are_added_and_read(session):
    texts = [str(number) for number in range(1_234)]
    await session.add_items(say(*texts))
    assert list_texts(await session.get_items()) == texts
    assert list_texts(await session.get_items(150)) == texts[-150:]


# Concurrency


async def test_batches_that_are_added_at_once_do_not_mix(make):
    batches = [[f"{letter}{number}" for number in range(5)] for letter in "abcdef"]
    await asyncio.gather(*(make().add_items(say(*batch)) for batch in batches))
    texts = list_texts(await make().get_items())
    assert sorted(texts[start : start + 5] for start in range(0, 30, 5)) == batches


async def test_no_item_is_popped_twice(make):
    items = [*say("one", "two", "three"), ITEMS["image"], *say("four", "five")]
    await make().add_items(items)
    popped = await asyncio.gather(*(make().pop_item() for _ in range(8)))
    assert popped.count(None) == 2
    assert sorted(map(str, filter(None, popped))) == sorted(map(str, items))
    assert await make().get_items() == []


async def test_lost_answer_repeats_nothing(site, monkeypatch):
    """As when the connection breaks after the server has done what was asked."""
    with MemoryClient(site.url, site.key) as client:
        session = MemorySiteSession(f"lost {uuid4()}", client)
        try_once, lost = client.transport.try_once, []

        def lose_first_answer(call: Any, *others: Any) -> Any:
            answer = try_once(call, *others)
            if call.method != "GET" and call.method not in lost:
                lost.append(call.method)
                raise ConnectionFailed("The connection broke.", may_have_happened=True)
            return answer

        monkeypatch.setattr(client.transport, "try_once", lose_first_answer)
        await session.add_items(say("one", "two"))
        assert await session.get_items() == say("one", "two")
        with pytest.raises(ConnectionFailed) as raised:  # another pop may have been faster
            await session.pop_item()
        assert raised.value.may_have_happened
        assert lost == ["POST", "DELETE"]
        assert await session.get_items() == say("one")


async def test_cancelled_addition_has_an_outcome(session):
    threads = ThreadPoolExecutor()
    asyncio.get_running_loop().set_default_executor(threads)
    adding = asyncio.ensure_future(session.add_items(say("one")))
    await asyncio.sleep(0)
    adding.cancel()
    await asyncio.gather(adding, return_exceptions=True)
    if isinstance(session, SQLiteSession):  # which does not wait for its thread
        threads.shutdown()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
    before = await session.get_items()
    await asyncio.sleep(0.3)
    assert await session.get_items() == before


def test_a_session_may_be_used_from_several_event_loops(session):
    for number in range(3):
        asyncio.run(session.add_items(say(str(number))))
    assert list_texts(asyncio.run(session.get_items())) == ["0", "1", "2"]


# Runs of agents


class ScriptedModel(Model):
    """A model with given answers that keeps its requests."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.inputs = list(answers), []

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        self.inputs.append(input)
        return ModelResponse(output=[self.answers.pop(0)], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def answer(text: str) -> ResponseOutputMessage:
    content = ResponseOutputText(text=text, type="output_text", annotations=[])
    return ResponseOutputMessage(id="m", content=[content], role="assistant", status="completed", type="message")


@function_tool
def opening_hour(place: str) -> str:
    """When a place opens."""
    return f"{place} opens at nine."


async def test_runner_remembers_the_turns_before(make):
    call = ResponseFunctionToolCall(
        arguments='{"place": "Harbour"}', call_id="c1", name="opening_hour", type="function_call"
    )
    model = ScriptedModel(call, answer("At nine."), answer("The harbour."))
    agent = Agent(name="guide", model=model, tools=[opening_hour])
    assert (await Runner.run(agent, "When does it open?", session=make())).final_output == "At nine."
    assert (await Runner.run(agent, "What did I ask about?", session=make())).final_output == "The harbour."
    kinds = [each.get("type") or each["role"] for each in model.inputs[2]]
    assert kinds == ["user", "function_call", "function_call_output", "message", "user"]
    assert model.inputs[2][2]["output"] == "Harbour opens at nine."
    assert len(await make().get_items()) == 6


async def test_a_run_may_read_fewer_items_than_the_session_has(make):
    session = make()
    await session.add_items(say(*map(str, range(10))))
    model = ScriptedModel(answer("yes"))
    config = RunConfig(session_settings=SessionSettings(limit=3))
    await Runner.run(Agent(name="guide", model=model), "and?", session=session, run_config=config)
    assert list_texts(model.inputs[0]) == ["7", "8", "9", "and?"]


# What only ours does


async def test_people_read_the_conversation(client):
    session = MemorySiteSession(f"read {uuid4()}", client, user_id="ada")
    await session.add_items([*say("When?"), build_answer("At nine."), ITEMS["output"]])
    [conversation] = client.conversations.list(session_id=session.session_id)
    messages = [(each.role, each.content) for each in client.conversations.messages(conversation.id)]
    assert conversation.user_id == "ada"
    assert messages[:2] == [("user", "When?"), ("assistant", "At nine.")]
    assert messages[2][0] == "tool"


async def test_messages_that_others_add_are_items(client):
    session = MemorySiteSession(f"others {uuid4()}", client)
    client.conversations.add_session_message(session.session_id, "user", "by hand", metadata={"json": True})
    assert await session.get_items() == say("by hand")
    assert await session.pop_item() == say("by hand")[0]


async def test_what_is_no_item_any_more_is_left_out(client):
    session = MemorySiteSession(f"broken {uuid4()}", client)
    await session.add_items(say("one"))
    for _ in range(2):
        client.conversations.add_session_message(
            session.session_id, "user", "{", metadata={"memory_client": {"json": True}}
        )
    assert await session.get_items() == await session.get_items(1) == say("one")
    assert await session.pop_item() == say("one")[0]
    assert await session.pop_item() is None


async def test_texts_become_memories_on_request(client):
    text = f"Ada told us in run {uuid4()} that the harbour in Bergen opens at nine."
    await MemorySiteSession(f"plain {uuid4()}", client).add_items(say(f"Not: {text}"))
    await MemorySiteSession(f"remembered {uuid4()}", client, remember=True).add_items([build_answer(text)])
    assert [hit.memory.content for hit in client.memories.search(f'"{text}"', mode="text").results][:1] == [text]


async def test_an_item_that_is_too_large_is_named_and_nothing_is_added(client):
    session = MemorySiteSession(f"large {uuid4()}", client)
    with pytest.raises(TooLarge) as raised:
        await session.add_items([*say("one"), {"type": "reasoning", "data": "x" * 5_000_000}])
    assert raised.value.field == "items.1"
    assert "at most 4,500,000" in str(raised.value)
    assert await session.get_items() == []


async def test_errors_are_those_of_the_client(client, site):
    with pytest.raises(InvalidInput) as raised:
        await MemorySiteSession("x" * 256, client).add_items(say("one"))
    assert raised.value.field == "session_id"
    with pytest.raises(NotAuthenticated):
        await MemorySiteSession("a", MemoryClient(site.url, "mem_wrong_key")).get_items()


def test_example(run_example):
    assert run_example("openai_agents_session.py").splitlines() == [
        "You began with: When does the harbour open?",
        "4 items are kept.",
    ]
