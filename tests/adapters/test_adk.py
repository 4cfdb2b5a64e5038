"""The memory service for Google ADK, beside ADK's own in memory where both do the same, and in a real Runner."""

import asyncio
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from datetime import datetime
from uuid import uuid4

import pytest
from google.adk.agents import LlmAgent
from google.adk.events.event import Event
from google.adk.memory.base_memory_service import BaseMemoryService
from google.adk.memory.in_memory_memory_service import InMemoryMemoryService
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions.in_memory_session_service import InMemorySessionService
from google.adk.sessions.session import Session
from google.adk.tools import load_memory, preload_memory
from google.genai.types import Content, FunctionCall, FunctionResponse, Part

from memory_client import ConnectionFailed, InvalidInput, MemoryClient, NotAuthenticated
from memory_client.adk import MemorySiteMemoryService
from tests.adapters.conftest import Site
from tests.adapters.examples import run_example


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[MemoryClient]:
    with MemoryClient(site.url, site.create_key("adk")) as client:
        yield client


@pytest.fixture
def ours(client: MemoryClient) -> MemorySiteMemoryService:
    return MemorySiteMemoryService(client)


@pytest.fixture(params=["adk's own", "ours"])
def service(request: pytest.FixtureRequest) -> BaseMemoryService:
    return InMemoryMemoryService() if request.param == "adk's own" else request.getfixturevalue("ours")


@pytest.fixture
def app() -> str:
    """An application that no other test uses."""
    return f"app-{uuid4().hex[:8]}"


def say(text: str, *, author: str = "user", **fields) -> Event:
    content = Content(role="user" if author == "user" else "model", parts=[Part(text=text)])
    return Event(author=author, content=content, **fields)


def build_session(app: str, *events: Event, user: str = "ada", session: str = "monday") -> Session:
    return Session(app_name=app, user_id=user, id=session, events=list(events))


async def find(service: BaseMemoryService, app: str, query: str, user: str = "ada") -> list[MemoryEntry]:
    return (await service.search_memory(app_name=app, user_id=user, query=query)).memories


async def find_texts(service: BaseMemoryService, app: str, query: str, user: str = "ada") -> list[str]:
    return [read(memory) for memory in await find(service, app, query, user)]


def read(memory: MemoryEntry) -> str:
    return " ".join(part.text or "" for part in memory.content.parts or [])


# Beside ADK's own service


async def test_an_event_is_found_by_a_word_with_its_author_time_and_role(service, app):
    await service.add_session_to_memory(
        build_session(app, say("The lighthouse keeper grows tomatoes."), say("Noted.", author="gardener"))
    )
    [memory] = await find(service, app, "tomatoes")
    assert (read(memory), memory.author, memory.content.role) == (
        "The lighthouse keeper grows tomatoes.", "user", "user"
    )  # fmt: skip
    assert memory.id
    assert memory.timestamp and memory.timestamp.startswith("20")


async def test_events_without_content_are_no_memories(service, app):
    empty = [Event(author="user"), Event(author="user", content=Content(parts=[]))]
    await service.add_session_to_memory(build_session(app, *empty, say("lighthouse")))
    assert await find_texts(service, app, "lighthouse") == ["lighthouse"]


async def test_a_session_without_events_adds_nothing(service, app):
    await service.add_session_to_memory(build_session(app))
    assert await find(service, app, "lighthouse") == []


async def test_a_session_that_is_added_again_adds_what_is_new(service, app):
    events = [say("The lighthouse is red.")]
    await service.add_session_to_memory(build_session(app, *events))
    events.append(say("The lighthouse is tall."))
    for _ in range(2):
        await service.add_session_to_memory(build_session(app, *events))
    assert sorted(await find_texts(service, app, "lighthouse")) == ["The lighthouse is red.", "The lighthouse is tall."]


async def test_a_delta_of_events_adds_to_the_session(service, app):
    first, second = say("The lighthouse is red."), say("The lighthouse is tall.")
    await service.add_session_to_memory(build_session(app, first))
    again = say("Something else about a lighthouse.", id=first.id)
    await service.add_events_to_memory(app_name=app, user_id="ada", session_id="monday", events=[again, second, second])
    assert sorted(await find_texts(service, app, "lighthouse")) == ["The lighthouse is red.", "The lighthouse is tall."]


async def test_events_need_no_session(service, app):
    event = say("The lighthouse is red.")
    for _ in range(2):
        await service.add_events_to_memory(app_name=app, user_id="ada", events=[event])
    assert await find_texts(service, app, "lighthouse") == ["The lighthouse is red."]


async def test_the_same_words_twice_are_two_events(service, app):
    events = [
        say("The lighthouse is red."),
        say("Yes.", author="model"),
        say("lighthouse"),
        say("Yes.", author="model"),
    ]
    await service.add_session_to_memory(build_session(app, *events))
    assert len(await find(service, app, "lighthouse")) == 2
    if isinstance(service, MemorySiteMemoryService):
        stored = [memory.content for memory in service.client.memories.list(agent_id=app)]
        assert sorted(stored) == ["The lighthouse is red.", "Yes.", "Yes.", "lighthouse"]


async def test_users_and_applications_are_apart(service, app):
    event = say("The lighthouse is a secret.")
    await service.add_session_to_memory(build_session(app, event))
    await service.add_session_to_memory(build_session(app, event, user="ben"))
    await service.add_session_to_memory(build_session(f"{app}-2", event))
    for name, user in [(app, "ada"), (app, "ben"), (f"{app}-2", "ada")]:
        assert await find_texts(service, name, "lighthouse", user) == ["The lighthouse is a secret."]
    for name, user in [(f"{app}-2", "ben"), (app.upper(), "ada"), (app, "Ada"), (app[:-1], "ada")]:
        assert await find(service, name, "lighthouse", user) == []


async def test_a_slash_in_a_name_leads_to_no_other(service, app):
    await service.add_session_to_memory(build_session(f"{app}/ada", say("The lighthouse is a secret."), user="ben"))
    assert await find(service, app, "lighthouse", "ada/ben") == []
    assert len(await find(service, f"{app}/ada", "lighthouse", "ben")) == 1


async def test_the_best_match_is_first_and_ten_are_all(service, app):
    events = [say(f"the lighthouse, visit {number}") for number in range(14)]
    await service.add_session_to_memory(build_session(app, *events, say("the lighthouse keeper's ladder")))
    texts = await find_texts(service, app, "lighthouse keeper ladder")
    assert (texts[0], len(texts)) == ("the lighthouse keeper's ladder", 10)


async def test_later_changes_of_an_event_change_no_memory(service, app):
    event = say("The lighthouse is red.")
    await service.add_session_to_memory(build_session(app, event))
    event.author, event.content.parts[0].text = "other", "The lighthouse is blue."
    [memory] = await find(service, app, "lighthouse")
    assert (read(memory), memory.author) == ("The lighthouse is red.", "user")
    memory.content.parts.clear()
    assert await find_texts(service, app, "lighthouse") == ["The lighthouse is red."]


async def test_a_deleted_event_stays_deleted_when_its_session_is_added_again(service, app):
    session = build_session(app, say("The lighthouse is red."), say("The lighthouse is tall."))
    await service.add_session_to_memory(session)
    found = {read(memory): memory.id for memory in await find(service, app, "lighthouse")}
    await service.delete_memory(app_name=app, user_id="ada", memory_id=found["The lighthouse is red."])
    session.events.append(say("The lighthouse is old."))
    await service.add_session_to_memory(session)
    assert sorted(await find_texts(service, app, "lighthouse")) == ["The lighthouse is old.", "The lighthouse is tall."]


@pytest.mark.parametrize("memory_id", [None, "", "no such id", "00000000-0000-0000-0000-000000000000"])
async def test_deleting_an_unknown_id_deletes_nothing(service, app, memory_id):
    await service.add_session_to_memory(build_session(app, say("The lighthouse is red.")))
    await service.delete_memory(app_name=app, user_id="ada", memory_id=memory_id)
    assert len(await find(service, app, "lighthouse")) == 1


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("私の名前は太郎です", "太郎"),
        ("我喜欢机器学习", "机器学习"),
        ("제 이름은 민수입니다", "민수입니다"),
        ("Меня зовут Алексей", "Алексей"),
        ("私はPythonでADKを使っています", "python"),
        (unicodedata.normalize("NFD", "Meet at the Café"), "café"),
    ],
)
async def test_every_script_has_words(service, app, text, query):
    await service.add_session_to_memory(build_session(app, say(text)))
    assert len(await find(service, app, query)) == 1


def test_loops_of_several_threads_use_one_service(service, app):
    """ADK runs a loop of its own in a thread; a service has to stand several."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(3):
                session = build_session(app, say(f"lighthouse {number} {turn}"), session=f"{number} {turn}")
                asyncio.run(service.add_session_to_memory(session))
                asyncio.run(find(service, app, "lighthouse"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(asyncio.run(find(service, app, "lighthouse"))) == 9


# What only ours does


async def test_an_event_is_found_by_its_meaning_at_once(ours, app):
    await ours.add_session_to_memory(
        build_session(app, say("My daughter was born in May."), say("The printer needs new toner."))
    )
    assert (await find_texts(ours, app, "When is the birthday of your child?"))[0] == "My daughter was born in May."


@pytest.mark.parametrize("query", ["", "  \n", "\u2800", "\0"])
async def test_a_blank_query_finds_nothing(ours, app, query):
    assert await find(ours, app, query) == []


async def test_a_whole_turn_is_a_query(ours, app):
    """Nothing in it is an operator, and its length does not matter."""
    await ours.add_session_to_memory(build_session(app, say("The lighthouse is red.")))
    query = 'I said "never mind" -lighthouse? -- ' + "tell me about it " * 1_000
    assert await find_texts(ours, app, query) == ["The lighthouse is red."]


async def test_only_the_spoken_text_of_an_event_is_stored(ours, app):
    parts = [
        Part(text="The user hides something.", thought=True),
        Part(text="The lighthouse"),
        Part(function_call=FunctionCall(name="measure", args={"what": "lighthouse"})),
        Part(text="is red."),
    ]
    tool = Part(function_response=FunctionResponse(name="measure", response={"height": "lighthouse"}))
    await ours.add_session_to_memory(
        build_session(
            app,
            Event(author="model", content=Content(role="model", parts=parts)),
            Event(author="model", content=Content(role="user", parts=[tool])),
            say("lighthouse, in part", author="model", partial=True),
            say("\u2800 \n"),
        )
    )
    [memory] = await find(ours, app, "lighthouse")
    assert [part.text for part in memory.content.parts or []] == ["The lighthouse", "is red."]


async def test_no_text_keeps_a_session_from_being_stored(ours, app):
    await ours.add_session_to_memory(
        build_session(app, say("lighthouse\0\ud800!"), say("lighthouse " + "x" * 200_000), say("lighthouse"))
    )
    assert sorted(map(len, await find_texts(ours, app, "lighthouse"))) == [10, 11, 100_000]


@pytest.mark.parametrize("timestamp", [1.0, 1_700_000_000.0, time.time() + 3_600])
async def test_every_time_of_an_event_is_returned(ours, client, app, timestamp):
    await ours.add_session_to_memory(build_session(app, say("lighthouse", timestamp=timestamp)))
    [memory] = await find(ours, app, "lighthouse")
    assert memory.timestamp and memory.timestamp.startswith(time.strftime("%Y-%m-%dT%H:%M", time.gmtime(timestamp)))
    created = client.request("GET", f"/memories/{memory.id}")["created_at"]
    assert created.startswith("2023-11-14T22:13:20") == (timestamp == 1_700_000_000)


async def test_an_impossible_time_is_none(ours, app):
    await ours.add_session_to_memory(build_session(app, say("lighthouse", timestamp=1e15)))
    assert [memory.timestamp for memory in await find(ours, app, "lighthouse")] == [None]


async def test_labels_say_whose_a_memory_is(ours, client, app):
    await ours.add_session_to_memory(build_session(app, say("lighthouse")))
    [memory] = await find(ours, app, "lighthouse")
    stored = client.request("GET", f"/memories/{memory.id}")
    labels = {name: stored[name] for name in ("agent_id", "user_id", "session_id", "source_system", "memory_type")}
    assert labels == {
        "agent_id": app, "user_id": "ada", "session_id": "monday", "source_system": "adk",
        "memory_type": "conversation",
    }  # fmt: skip
    assert memory.custom_metadata == {"session_id": "monday"}


async def test_nobody_deletes_the_memory_of_another(ours, app):
    await ours.add_session_to_memory(build_session(app, say("lighthouse")))
    [memory] = await find(ours, app, "lighthouse")
    for name, user in [(app, "ben"), (f"{app}-2", "ada")]:
        await ours.delete_memory(app_name=name, user_id=user, memory_id=memory.id)
    assert len(await find(ours, app, "lighthouse")) == 1


async def test_of_a_deleted_event_nothing_is_to_be_found(ours, client, app):
    session = build_session(app, say("The lighthouse is red."), user=app)
    await ours.add_session_to_memory(session)
    [memory] = await find(ours, app, "lighthouse", app)
    await ours.delete_memory(app_name=app, user_id=app, memory_id=memory.id)
    assert "lighthouse" not in str(client.request("GET", f"/memories/{memory.id}"))
    for query in ("lighthouse", "a deleted event"):
        assert await find(ours, app, query, app) == []
        body = {"query": query, "filters": {"user_id": app}}
        hits = client.request("POST", "/memories/search", json=body)["results"]
        assert memory.id not in {hit["memory"]["id"] for hit in hits}
    elsewhere = MemorySiteMemoryService(client)  # another process, which has seen nothing
    await elsewhere.add_session_to_memory(session)
    assert await find(elsewhere, app, "lighthouse", app) == []


async def test_two_deleted_events_stay_deleted(ours, app):
    session = build_session(app, say("The lighthouse is red."), say("The lighthouse is tall."))
    await ours.add_session_to_memory(session)
    for memory in await find(ours, app, "lighthouse"):
        await ours.delete_memory(app_name=app, user_id="ada", memory_id=memory.id)
        await ours.delete_memory(app_name=app, user_id="ada", memory_id=memory.id)
    await MemorySiteMemoryService(ours.client).add_session_to_memory(session)
    assert await find(ours, app, "lighthouse") == []


def remember(text: str, **fields) -> MemoryEntry:
    return MemoryEntry(content=Content(role="user", parts=[Part(text=text)]), **fields)


async def test_a_memory_comes_back_as_it_was_given(ours, app):
    metadata = {"a": [1, {"b": None}]}
    given = remember(
        "Ada is allergic to nuts.", author="doctor", timestamp="2025-03-01T10:00", custom_metadata=metadata
    )
    await ours.add_memory(app_name=app, user_id="ada", memories=[given], custom_metadata={"source": "form"})
    [memory] = await find(ours, app, "nuts")
    assert memory.model_copy(update={"id": None}) == given.model_copy(
        update={"custom_metadata": {**metadata, "source": "form"}}
    )


async def test_the_same_memory_again_is_one(ours, app):
    for text in ("Ada likes nuts.", "Ada likes nuts."):
        await ours.add_memory(app_name=app, user_id="ada", memories=[remember(text)])
    for text in ("nuts: ten", "nuts: twelve"):
        await ours.add_memory(app_name=app, user_id="ada", memories=[remember(text, id="stock")])
    assert sorted(await find_texts(ours, app, "nuts")) == ["Ada likes nuts.", "nuts: twelve"]


async def test_an_entry_that_a_search_returned_replaces_what_it_was_made_of(ours, app):
    await ours.add_memory(app_name=app, user_id="ada", memories=[remember("nuts: ten")])
    await ours.add_session_to_memory(session := build_session(app, say("I like nuts.")))
    entries = await find(ours, app, "nuts")
    for entry in entries:
        entry.content.parts[0].text += " Now none."
    await ours.add_memory(app_name=app, user_id="ada", memories=entries)
    await MemorySiteMemoryService(ours.client).add_session_to_memory(session)
    assert sorted(await find_texts(ours, app, "nuts")) == ["I like nuts. Now none.", "nuts: ten Now none."]
    assert {entry.id for entry in await find(ours, app, "nuts")} == {entry.id for entry in entries}


async def test_the_id_of_another_application_replaces_nothing(ours, app):
    await ours.add_memory(app_name=app, user_id="ada", memories=[remember("nuts: ten")])
    [entry] = await find(ours, app, "nuts")
    await ours.add_memory(app_name=f"{app}-2", user_id="ada", memories=[remember("nuts: two", id=entry.id)])
    assert await find_texts(ours, app, "nuts") == ["nuts: ten"]
    assert await find_texts(ours, f"{app}-2", "nuts") == ["nuts: two"]


async def test_a_text_that_was_corrected_elsewhere_comes_back_corrected(ours, client, app):
    content = Content(role="user", parts=[Part(text="The lighthouse"), Part(text="is red.")])
    await ours.add_session_to_memory(build_session(app, Event(author="user", content=content)))
    [memory] = await find(ours, app, "lighthouse")
    client.memories.update(memory.id, content="The lighthouse is white.")
    assert await find_texts(ours, app, "lighthouse") == ["The lighthouse is white."]


async def test_a_deleted_memory_may_be_added_again(ours, app):
    for _ in range(2):
        await ours.add_memory(app_name=app, user_id="ada", memories=[remember("Ada likes nuts.")])
        [memory] = await find(ours, app, "nuts")
        await ours.delete_memory(app_name=app, user_id="ada", memory_id=memory.id)
        assert await find(ours, app, "nuts") == []


async def test_custom_metadata_sets_fields_of_the_memory(ours, client, app):
    settings = {"memory_type": "business_fact", "importance": 5, "tags": ["diet"], "ttl_seconds": 3_600}
    await ours.add_memory(app_name=app, user_id="ada", memories=[remember("nuts")], custom_metadata=settings)
    [memory] = await find(ours, app, "nuts")
    stored = client.request("GET", f"/memories/{memory.id}")
    assert (stored["memory_type"], stored["importance"], stored["tags"]) == ("business_fact", 5, ["diet"])
    assert stored["expires_at"]
    with pytest.raises(InvalidInput) as error:
        await ours.add_memory(
            app_name=app, user_id="ada", memories=[remember("nuts")], custom_metadata={"importance": "high"}
        )
    assert "importance" in str(error.value)


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"at": datetime(2026, 1, 1)}, r"custom_metadata\.at: datetime"),
        ({"a": [{1: 2}]}, r"custom_metadata\.a\[0\]"),
        ({"adk": {"author": "x"}}, r"custom_metadata\.adk"),
    ],
    ids=["a date", "a number as a name", "our own"],
)
async def test_metadata_that_would_not_come_back_are_refused_by_name(ours, app, metadata, named):
    with pytest.raises(ValueError, match=named):
        await ours.add_memory(app_name=app, user_id="ada", memories=[remember("nuts")], custom_metadata=metadata)
    with pytest.raises(ValueError, match=f"memories.{named}"):
        await ours.add_memory(app_name=app, user_id="ada", memories=[remember("nuts", custom_metadata=metadata)])
    assert await find(ours, app, "nuts") == []


@pytest.mark.parametrize("limit", [0, 101])
def test_a_limit_that_no_search_has_is_refused(client, limit):
    with pytest.raises(ValueError, match="limit"):
        MemorySiteMemoryService(client, limit=limit)


async def test_a_server_that_is_away_and_a_wrong_key_are_named(site, app):
    away = MemorySiteMemoryService(MemoryClient("http://127.0.0.1:1", "mem_x", retries=0))
    with pytest.raises(ConnectionFailed):
        await find(away, app, "lighthouse")
    stranger = MemorySiteMemoryService(MemoryClient(site.url, "mem_wrong"))
    with pytest.raises(NotAuthenticated):
        await stranger.add_session_to_memory(build_session(app, say("lighthouse")))


# In a Runner


class StubModel(BaseLlm):
    """Answers by a function of the request."""

    model: str = "stub"
    answer: Callable

    async def generate_content_async(self, llm_request, stream=False):
        yield LlmResponse(content=Content(role="model", parts=[self.answer(llm_request)]))


def build_runner(app: str, service: BaseMemoryService, answer: Callable, tools: list) -> Runner:
    async def keep(callback_context) -> None:
        await callback_context.add_session_to_memory()

    agent = LlmAgent(name="helper", model=StubModel(answer=answer), tools=tools, after_agent_callback=keep)
    return Runner(app_name=app, agent=agent, session_service=InMemorySessionService(), memory_service=service)


def ask(runner: Runner, text: str) -> str:
    """Ask in a new session, from a loop of its own, as ADK's synchronous `run` does."""
    session = asyncio.run(runner.session_service.create_session(app_name=runner.app_name, user_id="ada"))
    message = Content(role="user", parts=[Part(text=text)])
    events = list(runner.run(user_id="ada", session_id=session.id, new_message=message))
    return events[-1].content.parts[-1].text


def list_request_texts(llm_request) -> str:
    return "\n".join(part.text or "" for content in llm_request.contents for part in content.parts)


def test_preloaded_memories_of_earlier_sessions_reach_the_model(ours, app):
    seen: list[str] = []

    def answer(llm_request) -> Part:
        seen.append(list_request_texts(llm_request))
        return Part(text="I see.")

    runner = build_runner(app, ours, answer, [preload_memory])
    ask(runner, "My daughter was born in May.")
    ask(runner, "When is the birthday of my child?")
    assert "born in May" not in seen[0].replace("My daughter was born in May.", "", 1)
    assert "user: My daughter was born in May." in seen[1]
    assert "helper: I see." not in seen[0]


def test_a_model_loads_memories_with_the_tool(ours, app):
    def answer(llm_request) -> Part:
        last = llm_request.contents[-1].parts[-1]
        if last.function_response:
            memories = last.function_response.response["result"].memories
            return Part(text="; ".join(read(memory) for memory in memories))
        if "born" in (last.text or ""):
            return Part(text="I see.")
        return Part(function_call=FunctionCall(name="load_memory", args={"query": "daughter's birth"}))

    runner = build_runner(app, ours, answer, [load_memory])
    ask(runner, "My daughter was born in May.")
    assert "My daughter was born in May." in ask(runner, "When is the birthday of my child?")


def test_the_example_remembers_recalls_and_forgets(site):
    answers = run_example("adk_memory.py", site)
    assert "birthday of my child?  ->  My daughter was born in May." in answers
    assert answers.endswith("Forgotten: My daughter was born in May.\n")
