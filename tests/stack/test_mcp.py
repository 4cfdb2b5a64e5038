"""Real clients of the Model Context Protocol, over HTTP and standard input and output, against the whole product."""

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from memory_site.settings import BASE_DIR
from tests.mcp_conformance.suite import FAILED, NODE, NODE_MODULES, PASSED, REVISIONS, is_installed, run_suite
from tests.stack.stack import MANAGE, build_environment, run_manage, wait_until

NODE_AGENT = BASE_DIR / "tests/node/agent.cjs"
MAKE_KEYS = """
from sessions_app.models import ApiKey, Namespace
namespace = Namespace.objects.get(name="default")
theirs = Namespace.objects.get_or_create(name="of the others")[0]
print(ApiKey.objects.issue(namespace, scopes=("read",))[1], ApiKey.objects.issue(theirs)[1])
"""
TOOLS = {
    *("remember", "recall", "context", "list_memories", "get_memory", "update_memory", "forget"),
    *("search_knowledge", "session_context", "memory_status"),
}
MUST_PASS = {
    "2025-11-25": {
        *("server-initialize", "ping", "tools-list", "resources-list", "prompts-list", "completion-complete"),
        "dns-rebinding-protection",
    },
    "2026-07-28": {
        *("server-stateless", "tools-list", "resources-list", "prompts-list", "completion-complete", "caching"),
        *("dns-rebinding-protection", "http-header-validation", "sep-2164-resource-not-found"),
        "server-sse-multiple-streams",
    },
}
NO_MEMORY = "There is no memory with this id; take ids from recall or list_memories."
MAX_ANSWER_SECONDS = 60


@dataclass
class Keys:
    reader: str
    other: str


@pytest.fixture(scope="module")
def keys(stack):
    made = run_manage("shell", "--no-imports", "-c", MAKE_KEYS, **stack.environment)
    return Keys(*made.stdout.split()[-2:])


@asynccontextmanager
async def over_http(stack, key=None, path="/mcp"):
    headers = {"Authorization": f"Bearer {key or stack.key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as client,
        streamable_http_client(stack.url + path, http_client=client) as streams,
    ):
        yield streams


def over_stdio(stack, key=None, path="/mcp"):
    variables = build_environment(MEMORY_URL=stack.url, MEMORY_KEY=key or stack.key)
    argv = ["-m", "memory_client.mcp_stdio", "--path", path]
    return stdio_client(StdioServerParameters(command=sys.executable, args=argv, env=variables, cwd=BASE_DIR))


needs_npm = pytest.mark.skipif(not is_installed(), reason="no npm packages: make .cache/node/installed.done")
WAYS = pytest.mark.parametrize("connect", [over_http, over_stdio])


async def use_every_tool(client):
    """Return the answers by tool."""
    stored = await client.call_tool("remember", {"content": "Otters sleep in the boathouse", "tags": ["sdk"]})
    memory_id = stored.structured_content["memory"]["id"]
    uses = {
        "recall": {"query": "otters in the boathouse"},
        "context": {"query": "otters"},
        "list_memories": {"tags": ["sdk"]},
        "get_memory": {"id": memory_id},
        "update_memory": {"id": memory_id, "importance": 5},
        "search_knowledge": {"query": "otters"},
        "session_context": {"session": "none"},
        "memory_status": {},
        "forget": {"ids": [memory_id]},
    }
    answers = {name: await client.call_tool(name, arguments) for name, arguments in uses.items()}
    return memory_id, {"remember": stored, **answers}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@WAYS
def test_the_sdks_client_uses_every_tool(stack, connect, mode):
    async def run():
        async with Client(connect(stack), mode=mode) as client:
            offered = {tool.name for tool in (await client.list_tools()).tools}
            memory_id, answers = await use_every_tool(client)
            large = await client.call_tool("remember", {"content": "x" * 2**20})
            guide = await client.get_prompt("memory_guide")
            recent = await client.read_resource("memory://recent")
            return client.protocol_version, offered, memory_id, answers, large, guide, recent

    version, offered, memory_id, answers, large, guide, recent = asyncio.run(run())
    assert version == ("2026-07-28" if mode == "auto" else "2025-11-25")
    assert offered == answers.keys() == TOOLS
    assert not any(answer.is_error for answer in answers.values())
    assert memory_id in answers["recall"].content[0].text
    assert answers["recall"].structured_content["results"][0]["id"] == memory_id
    assert large.is_error and large.content[0].text.startswith("The arguments are too long")
    assert "recall" in guide.messages[0].content.text and recent.contents[0].text


@WAYS
def test_a_reader_and_a_foreign_id(stack, keys, connect):
    foreign = stack.call("POST", "/memories", {"content": "A secret"}, Authorization=f"Bearer {keys.other}").json()[
        "id"
    ]

    async def run():
        async with Client(connect(stack, keys.reader)) as client:
            return (
                {tool.name for tool in (await client.list_tools()).tools},
                await client.call_tool("remember", {"content": "x"}),
                await client.call_tool("get_memory", {"id": foreign}),
            )

    offered, refused, foreign = asyncio.run(run())
    assert offered == TOOLS - {"remember", "update_memory", "forget"}
    assert refused.is_error and "lacks the scope 'write'" in refused.content[0].text
    assert foreign.is_error and foreign.content[0].text == NO_MEMORY


def test_a_wrong_key_is_refused(stack):
    async def run():
        async with Client(over_http(stack, "mem_wrong")):
            raise AssertionError

    with pytest.raises(Exception) as raised:
        asyncio.run(run())
    assert not isinstance(raised.value, AssertionError)


@needs_npm
@pytest.mark.parametrize("kind", ["http", "stdio"])
def test_the_client_for_javascript_uses_every_tool(stack, keys, kind):
    said = run_node(stack, kind, stack.key)
    assert set(said["tools"]) == TOOLS <= said.keys()
    assert not any(said[tool].get("isError") for tool in TOOLS)
    memory_id = said["remember"]["structuredContent"]["memory"]["id"]
    assert memory_id in said["recall"]["content"][0]["text"]
    assert said["large"]["isError"] and "too long" in said["large"]["content"][0]["text"]
    assert json.loads(said["resource"]["contents"][0]["text"])["memory"]["id"] == memory_id
    assert "remember" in said["prompt"]["messages"][0]["content"]["text"]
    assert said["again"]["content"][0]["text"] == NO_MEMORY
    assert "lacks the scope 'write'" in run_node(stack, kind, keys.reader)["refused"]
    assert "failed" in run_node(stack, kind, "mem_wrong")


@needs_npm
@pytest.mark.parametrize("revision", REVISIONS)
def test_the_protocols_own_suite_passes_where_it_applies(stack, revision):
    outcomes = run_suite(stack.url, stack.key, revision)
    assert [outcome for outcome in outcomes if outcome.status == FAILED] == []
    assert {outcome.scenario for outcome in outcomes if outcome.status == PASSED} >= MUST_PASS[revision]


def run_node(stack, kind, key):
    proxy = [sys.executable, "-m", "memory_client.mcp_stdio"]
    arguments = [f"{stack.url}/mcp", key] if kind == "http" else proxy
    environment = os.environ | {"NODE_PATH": str(NODE_MODULES), "MEMORY_URL": stack.url, "MEMORY_KEY": key}
    done = subprocess.run(
        [NODE, NODE_AGENT, kind, *arguments], env=environment, cwd=BASE_DIR, capture_output=True, timeout=60
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_while_the_worker_is_away_words_are_found(stack):
    async def run():
        async with Client(over_http(stack)) as client:
            stored = await client.call_tool("remember", {"content": "Quokkas nap under the pier"})
            found = await client.call_tool("recall", {"query": "quokkas"})
            await client.call_tool("forget", {"ids": [stored.structured_content["memory"]["id"]]})
            return stored, found

    with stack.frozen("worker"):
        stored, found = asyncio.run(run())
    assert stored.structured_content["embedded"] is False
    assert "as soon as a worker has embedded it" in stored.content[0].text
    assert found.structured_content["results"][0]["id"] == stored.structured_content["memory"]["id"]


# The program that passes messages on


class Program:
    """`manage.py mcp`, or the client's program, to which a test writes lines."""

    def __init__(self, argv, **environment):
        self.process = subprocess.Popen(
            [sys.executable, *argv],
            env=build_environment(**environment),
            cwd=BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, *messages):
        for message in messages:
            self.process.stdin.write((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
        self.process.stdin.flush()

    def read(self):
        return json.loads(self.process.stdout.readline())

    def finish(self):
        """Return the lines that are left, the exit code and what it said beside."""
        output, errors = self.process.communicate(timeout=60)
        return [json.loads(line) for line in output.splitlines()], self.process.returncode, errors.decode()


def ask(request_id, method, **params):
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


HELLO = ask(0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "t", "version": "1"})


def test_the_command_speaks_nothing_but_the_protocol_and_ends_with_its_input(stack):
    program = Program([MANAGE, "mcp", "--user", "ada"], MEMORY_URL=stack.url, MEMORY_KEY=stack.key, **stack.environment)
    program.send(HELLO, {"jsonrpc": "2.0", "method": "notifications/initialized"}, b"{no json", b"[]")
    program.send(*(ask(f"a{number}", "tools/call", name="memory_status", arguments={}) for number in range(20)))
    program.send(ask("gone", "tools/list"), {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": 3})
    answers, code, errors = program.finish()
    assert (code, errors) == (0, "")
    by_id = {str(answer["id"]): answer for answer in answers}
    assert by_id["0"]["result"]["serverInfo"]["name"] == "memory-site"
    assert all(by_id[f"a{number}"]["result"]["structuredContent"]["user"] == "ada" for number in range(20))
    assert sorted(answer["error"]["code"] for answer in answers if answer["id"] is None) == [-32700, -32600]


def test_what_was_cancelled_is_not_answered(stack):
    program = Program(["-m", "memory_client.mcp_stdio"], MEMORY_URL=stack.url, MEMORY_KEY=stack.key)
    with stack.frozen("web"):
        program.send(ask(1, "tools/list"), ask("1", "tools/list"))
        program.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}, b"{no json")
        assert program.read()["error"]["code"] == -32700  # it has read all of that
    answers, code, _ = program.finish()
    assert ([answer["id"] for answer in answers], code) == (["1"], 0)


def test_a_site_that_is_away_is_an_error_and_no_end(stack):
    program = Program(["-m", "memory_client.mcp_stdio"], MEMORY_URL="http://127.0.0.1:1", MEMORY_KEY=stack.key)
    program.send(ask(1, "tools/list"))
    first = program.read()
    assert first["id"] == 1 and "cannot be reached" in first["error"]["message"]
    program.send(ask(2, "tools/list"))
    answers, code, errors = program.finish()
    assert ([answer["id"] for answer in answers], code, errors) == ([2], 0, "")


@pytest.mark.parametrize(
    ("key", "path", "expected"),
    [
        ("mem_wrong", "/mcp", "refuses the key"),
        ("", "/admin/", "not as an MCP server does"),
        ("", "/mcp/users/a/memories", "Memory Site answers 422"),
    ],
)
def test_what_the_site_refuses_is_said(stack, key, path, expected):
    argv = ["-m", "memory_client.mcp_stdio", "--path", path]
    program = Program(argv, MEMORY_URL=stack.url, MEMORY_KEY=key or stack.key)
    program.send(ask(1, "tools/list"))
    [answer], code, errors = program.finish()
    assert expected in answer["error"]["message"]
    assert (code, errors) == (0, "")


def test_without_a_key_it_says_so(stack):
    answers, code, errors = Program(["-m", "memory_client.mcp_stdio"], MEMORY_KEY="").finish()
    assert (answers, code) == ([], 2)
    assert "MEMORY_KEY" in errors and "Traceback" not in errors


def test_a_database_that_dies_is_an_error_in_time_and_loses_nothing(shaken):
    async def remember(content):
        async with Client(over_http(shaken)) as client:
            return await client.call_tool("remember", {"content": content})

    stored = asyncio.run(remember("Pelicans wait on the mole"))
    killed, started, answers = shaken.kill("postgres"), time.monotonic(), []
    while not shaken.is_back("postgres", killed) or not answers:
        try:
            answers.append(asyncio.run(remember("Pelicans wait on the mole")))
        except Exception as error:  # the site answers 503 to a message whose key it cannot look up
            answers.append(error)
        assert time.monotonic() - started < MAX_ANSWER_SECONDS * len(answers)
    wait_until(lambda: shaken.call("GET", "/summary").status == 200, 60, "the database is back")
    found = asyncio.run(remember("Pelicans wait on the mole"))
    assert found.structured_content["memory"]["id"] == stored.structured_content["memory"]["id"]
    sentences = [answer.content[0].text for answer in answers if hasattr(answer, "content") and answer.is_error]
    assert all("try again" in sentence for sentence in sentences)
