"""What a client is made with, and what it keeps to itself."""

import asyncio
import logging
import multiprocessing
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx2
import pytest

from memory_client import AsyncMemoryClient, ClientClosed, InvalidInput, MemoryClient, MemoryClientError, WrongEventLoop
from memory_client.calls import fill_path
from memory_client.mcp_stdio import build_address
from tests.memory_client.servers import Answer, answering, running

KEY = "mem_very_secret"
CONTENT = "Ada likes tea."
FOUND = Answer(200, {"results": [], "next": None})


@pytest.mark.parametrize("end", ["", "/", "/api/v1", "/api/v1/", "//"])
@pytest.mark.parametrize("prefix", ["", "/memory"])
def test_address_may_end_in_every_way(prefix, end):
    with running(answering(FOUND)) as server, MemoryClient(f"{server.url}{prefix}{end}", KEY) as client:
        client.request("GET", "/memories")
    assert [request.path for request in server.requests] == [f"{prefix}/api/v1/memories"]


@pytest.mark.parametrize("end", ["", "/", "/api/v1", "/api/v1/"])
def test_program_of_mcp_takes_the_same_addresses(end):
    assert build_address(f"http://host/memory{end}", "/mcp", None) == "http://host/memory/mcp"


@pytest.mark.parametrize("user", ["..", "."])
def test_no_name_of_a_user_leads_out_of_the_address_of_one(user):
    """`/mcp/users/..` is the address of all users."""
    with running(answering(FOUND)) as server, httpx2.Client() as http:
        http.post(build_address(server.url, "/mcp", user))
    assert [request.path.upper() for request in server.requests] == [f"/MCP/USERS/{'%2E' * len(user)}"]


NO_ADDRESSES = ["localhost:8000", "ftp://host", "http://", "http://host?x=1", "http://host/#x", "/"]


@pytest.mark.parametrize("url", [*NO_ADDRESSES, "http://ada:pass@host", f"http://{'a' * 64}.example"])
def test_address_that_cannot_be_one(url):
    with pytest.raises(ValueError, match="The url must"):
        MemoryClient(url, KEY)


@pytest.mark.parametrize("key", ["mem_a b", "mem_ä", "mem_a\nb", "mem_\x00"])
def test_key_that_cannot_be_one_is_not_quoted(key):
    with pytest.raises(ValueError, match="no key has") as error:
        MemoryClient("http://localhost", key)
    assert key not in str(error.value)


def test_environment_says_where_and_who(monkeypatch):
    with running(answering(FOUND)) as server:
        monkeypatch.setenv("MEMORY_URL", server.url)
        monkeypatch.setenv("MEMORY_KEY", f" {KEY}\n")
        with MemoryClient() as client:
            client.request("GET", "/memories")
        monkeypatch.delenv("MEMORY_KEY")
        with pytest.raises(ValueError, match="MEMORY_KEY"):
            MemoryClient()
    (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["user-agent"] == "memory-site-client/0.1.0"


def test_key_is_in_no_text(caplog):
    caplog.set_level(logging.DEBUG)
    texts = []
    for answer in (Answer(None), Answer(500, "no"), Answer(200, "no"), Answer(302, "no"), FOUND):
        with running(answering(answer)) as server:
            client = MemoryClient(server.url, KEY, retries=1)
            texts += [repr(client), repr(vars(client)), repr(client.transport.settings), repr(client.memories)]
            try:
                client.memories.add(CONTENT)
            except MemoryClientError:
                texts.append(traceback.format_exc())
            client.close()
    texts += [repr(vars(record)) + record.getMessage() for record in caplog.records]
    assert len(texts) > 20 and any("attempt 2" in text for text in texts)
    assert [text for text in texts if KEY in text or CONTENT in text] == []


PARTS = ["ä ö", "a?b#c", "%2F", "a%b", "日本", "a\\b", "a;b", "+", "'\"", " x ", "..x"]


def test_value_in_a_path_stays_one_value(client):
    for part in PARTS:
        user = f"{part}/a//b"
        client.preferences.set(user, part, {"as": part})
        assert client.preferences.get(user, part).value == {"as": part}
        assert [(each.user_id, each.key) for each in client.preferences.list()] == [(user, part)]
        client.preferences.delete(user, part)


def test_value_that_would_be_another_path_is_refused(client):
    for part in (".", "..", "../../admin", "x/../../../memories", "/", "", "\ud800"):
        with pytest.raises(InvalidInput) as error:
            client.preferences.set("ada", part, 1)
        assert error.value.field == "key"


def test_id_cannot_name_another_operation(client):
    conversation = client.conversations.start()
    client.conversations.add_message(conversation.id, "user", "Hello.")
    with pytest.raises(InvalidInput, match="conversation_id: must not contain a slash"):
        client.conversations.delete(f"{conversation.id}/messages/last")
    assert client.conversations.get(conversation.id).message_count == 1


@pytest.mark.parametrize(("path", "params"), [("/memories/\n", None), ("/memories", {"user_id": "x" * 70_000})])
def test_address_that_cannot_be_sent_is_refused(client, path, params):
    with pytest.raises(InvalidInput) as error:
        client.request("GET", path, params=params)
    assert error.value.field == "path"


def test_path_without_a_slash_is_refused(client):
    with pytest.raises(InvalidInput, match="path: must begin with a slash"):
        client.request("GET", "memories")


SURROGATE = "\ud800"


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("path", lambda client: client.request("GET", f"/memories/{SURROGATE}")),
        ("key", lambda client: client.memories.get_by_key(SURROGATE)),
        ("query", lambda client: client.memories.get_by_key("a", user_id=SURROGATE)),
        ("body", lambda client: client.memories.add(SURROGATE)),
        ("Idempotency-Key", lambda client: client.memories.add("x", idempotency_key=SURROGATE)),
        ("If-Match", lambda client: client.memories.update("1", content="x", if_match=SURROGATE)),
        ("method", lambda client: client.request(SURROGATE, "/memories")),
    ],
    ids=["path", "key", "query", "body", "Idempotency-Key", "If-Match", "method"],
)
def test_text_that_is_no_unicode_is_invalid_input(field, call):
    with MemoryClient("http://127.0.0.1:1", KEY) as client, pytest.raises(InvalidInput) as error:
        call(client)
    assert error.value.field == field


@pytest.mark.parametrize("value", ["a\nb", "a\x1bb", "ä", " a", "a ", "\0"], ids=ascii)
def test_header_that_cannot_be_sent_is_invalid_input(value):
    with MemoryClient("http://127.0.0.1:1", KEY) as client, pytest.raises(InvalidInput) as error:
        client.memories.add("x", idempotency_key=value)
    assert error.value.field == "Idempotency-Key"


def test_method_may_be_written_in_small_letters():
    with running(answering(FOUND)) as server, MemoryClient(server.url, KEY) as client:
        client.request("post", "/memories", json={})
    assert server.requests[0].method == "POST" and "idempotency-key" in server.requests[0].headers


def test_path_is_quoted():
    assert fill_path("/users/{*user_id}/x/{key}", user_id="a/b", key="..") == "/users/a%2Fb/x/%2E%2E"


def test_threads_share_a_client(client):
    def add(number: int) -> str:
        added = client.memories.add(f"Fact {number}.")
        return client.memories.get(added.id).content

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(add, range(12))) == [f"Fact {number}." for number in range(12)]


def test_closed_client_says_so(live_server, key):
    client = MemoryClient(live_server.url, key)
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.memories.labels("user_id").pages().__next__()


def test_asynchronous_client_is_for_one_loop_and_says_when_it_is_closed():
    async def call(client: AsyncMemoryClient) -> None:
        await client.request("GET", "/memories")

    async def close(client: AsyncMemoryClient) -> None:
        await client.close()
        await call(client)

    with running(answering(FOUND)) as server:
        client = AsyncMemoryClient(server.url, KEY)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(call(client))
        with pytest.raises(WrongEventLoop, match="for each loop"):
            asyncio.run(call(client))
        with pytest.raises(ClientClosed):
            loop.run_until_complete(close(client))
        loop.close()
    assert repr(client) == f"<AsyncMemoryClient of {server.url}/api/v1>"


def test_many_calls_at_once_in_one_loop(async_client):
    async def use() -> set[str]:
        async with async_client as client:
            added = await asyncio.gather(*(client.memories.add(f"Fact {number}.") for number in range(8)))
            memories = await asyncio.gather(*(client.memories.get(each.id) for each in added))
            return {each.content for each in memories}

    assert asyncio.run(use()) == {f"Fact {number}." for number in range(8)}


def test_forked_process_never_meets_its_parent_s_connections(monkeypatch):
    """Of several threads that connect at once, none takes what is not made yet."""
    with MemoryClient("http://localhost", KEY) as client:
        client.transport.process, seen = -1, []
        monkeypatch.setattr("memory_client.transport.build_ssl", lambda _: bool(seen.append(client.transport.process)))
        client.transport.connect()
    assert seen == [-1]


def test_forked_process_has_connections_of_its_own(monkeypatch):
    """With the parent's connection both would read the same bytes."""
    kept = partial(httpx2.Client, limits=httpx2.Limits(keepalive_expiry=600))  # however long the fork takes
    monkeypatch.setattr("memory_client.transport.httpx2.Client", kept)
    sockets = []

    def answer(request):
        sockets.append(threading.current_thread().name)  # one thread for each connection
        return FOUND

    with running(answer) as server, MemoryClient(server.url, KEY) as client:
        client.request("GET", "/memories")
        process = multiprocessing.get_context("fork").Process(target=client.request, args=("GET", "/memories"))
        process.start()
        process.join(60)
        client.request("GET", "/memories")
    assert process.exitcode == 0
    assert sockets[0] == sockets[2] != sockets[1]
