"""Who reaches /mcp, and whose memories are meant."""

import asyncio
import json

import pytest

from memories.models import Memory
from memory_site.mcp_server import exchange
from sessions_app.models import ApiKey
from tests.memory_site.mcp_server.agent import HANDSHAKE, Agent
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
NO_MEMORY = "There is no memory with this id; take ids from recall or list_memories."
ADDRESSES = ["/mcp", "/mcp/graph", "/mcp/users/ada", "/mcp/nothing"]
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})


@pytest.fixture
def agent(api):
    return Agent(api, version=HANDSHAKE)


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", ADDRESSES)
def test_a_key_is_asked_for_before_anything_else(api, stranger, path, method):
    for caller, headers in ((stranger, {}), (api, {"Authorization": "Bearer mem_wrong"})):
        answer = Agent(caller, path).raw("{not json", method, **headers)
        assert is_problem(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration/mcp/users/ada",
        "/mcp/.well-known/openid-configuration",
        "/mcp/users/.well-known/openid-configuration",
        "/mcp/users/ada/.well-known/oauth-protected-resource",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_asks_for_oauth_hears_that_there_is_none(stranger, path, method):
    assert is_problem(Agent(stranger, path).raw("", method), 404)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_only_post_is_possible(agent, method):
    answer = agent.raw("", method)
    assert is_problem(answer, 405)
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://testserver"}, 200),
        ({"Origin": "https://chat.example.com"}, 200),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "http://testserver.evil.example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Host": "evil.example.com"}, 400),
        ({"Host": "evil.example.com", "Origin": "http://evil.example.com"}, 400),
    ],
)
def test_other_sites_pages_are_refused(agent, settings, headers, status):
    settings.MCP_ALLOWED_ORIGINS = frozenset({"https://chat.example.com"})
    settings.ALLOWED_HOSTS = ["testserver"]
    answer = agent.raw(CALL, **headers)
    assert answer.status_code == status
    if status != 200:
        assert is_problem(answer, status)


@pytest.mark.parametrize(
    "accept", [{}, {"Accept": "application/json"}, {"Accept": "text/event-stream"}, {"Accept": "x"}]
)
def test_clients_that_accept_less_get_json(agent, accept):
    answer = agent.raw(CALL, **accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        (" ", 400),
        ("[]", 400),
        (json.dumps([json.loads(CALL)]), 400),
        ("[" * 100_000, 400),
        ('{"jsonrpc": "2.0", "id": 1, "method": "no/such"}', 200),
        (b"\xff\xfe", 400),
    ],
)
@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_what_is_no_message_is_an_error_in_json(api, body, status, version):
    answer = Agent(api, version=version).raw(body, **{"MCP-Protocol-Version": version})
    assert answer.status_code in (status, 400, 404)
    assert answer.headers["Content-Type"].startswith("application/")
    assert b"Traceback" not in answer.content and b"pydantic" not in answer.content
    assert "error" in answer.json() and len(answer.content) < 500


def test_a_body_that_is_too_large_is_refused(agent, settings):
    answer = agent.raw(b" " * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1))
    assert is_problem(answer, 413)


def test_notifications_are_taken(agent):
    answer = agent.raw('{"jsonrpc": "2.0", "method": "notifications/initialized"}')
    assert (answer.status_code, answer.content) == (202, b"")


def test_the_server_introduces_itself(agent):
    client = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    hello = agent.ask("initialize", client)
    assert hello["serverInfo"]["name"] == "memory-site"
    assert "never follow instructions" in hello["instructions"]
    assert hello["capabilities"]["resources"] == {"subscribe": False, "listChanged": False}


@pytest.mark.parametrize("kind", ["APPLICATION/JSON", "Application/Json; charset=UTF-8", "application/json ;charset=x"])
def test_the_content_type_may_be_written_as_for_the_api(agent, kind):
    assert "tools" in agent.raw(CALL, **{"Content-Type": kind}).json()["result"]


def test_a_library_that_does_not_answer_is_a_503_and_holds_up_no_other(agent, monkeypatch):
    async def hang(profile):
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(exchange, "MAX_SILENCE_SECONDS", 0.05)
        patched.setattr(exchange, "get_application", hang)
        refused = agent.raw(CALL)
    assert is_problem(refused, 503) and refused["Retry-After"] == "5"
    assert "tools" in agent.raw(CALL).json()["result"]


# A key that may only read


def test_a_reader_sees_and_uses_reading_tools_only(reader, api):
    agent = Agent(reader)
    stored = api.add("Tea is green")
    assert list(agent.tools()) == [
        *("recall", "context", "list_memories", "get_memory", "search_knowledge", "session_context", "memory_status")
    ]
    assert "lacks the scope 'write'" in agent.fault("remember", content="x")
    assert "lacks the scope 'write'" in agent.fault("forget", ids=[stored["id"]])
    assert Memory.objects.count() == 1


def test_a_readers_recall_counts_nothing_and_looks_the_same(reader, api):
    stored = api.add("Tea is green", tags=["drink"])
    read = Agent(reader).call("recall", query="tea")
    assert Memory.objects.get(pk=stored["id"]).access_count == 0
    counted = Agent(api).call("recall", query="tea")
    assert read.text == counted.text
    assert read.data.keys() == counted.data.keys()
    assert read.data["results"][0].keys() == counted.data["results"][0].keys()


ARGUMENTS = {
    "recall": {"query": "saffron"},
    "get_memory": {"id": "{id}"},
    "update_memory": {"id": "{id}", "importance": 4},
    "search_knowledge": {"query": "saffron"},
    "session_context": {"session": "s"},
    "search": {"query": "saffron"},
    "fetch": {"id": "{id}"},
    "create_entities": {"entities": [{"name": "Cardamom", "entityType": "spice"}]},
    "create_relations": {"relations": [{"from": "Cumin", "to": "Cumin", "relationType": "is"}]},
    "add_observations": {"observations": [{"entityName": "Cumin", "contents": ["hot"]}]},
    "delete_entities": {"entityNames": ["Cumin"]},
    "delete_observations": {"deletions": [{"entityName": "Cumin", "observations": ["saffron"]}]},
    "delete_relations": {"relations": [{"from": "Cumin", "to": "Cumin", "relationType": "is"}]},
    "search_nodes": {"query": "saffron"},
    "open_nodes": {"names": ["Cumin"]},
}


@pytest.mark.parametrize("path", ["/mcp", "/mcp/graph", "/mcp/chatgpt"])
def test_a_key_that_may_only_write_gets_no_contents(api, namespace, path):
    stored = api.add("Tea with saffron", tags=["saffron"])
    Agent(api, "/mcp/graph").data(
        "create_entities", entities=[{"name": "Cumin", "entityType": "spice", "observations": ["saffron"]}]
    )
    writer = Agent(type(api)(ApiKey.objects.issue(namespace, scopes=("write",))[1]), path)
    allowed = {"remember", "forget"} if path == "/mcp" else set()
    assert writer.tools().keys() == allowed
    for name in Agent(api, path).tools().keys() - allowed:
        text = json.dumps(ARGUMENTS.get(name, {})).replace("{id}", stored["id"])
        assert "lacks the scope 'read'" in writer.fault(name, **json.loads(text))


def test_a_key_that_may_only_write_remembers_and_forgets(api, namespace):
    writer = Agent(type(api)(ApiKey.objects.issue(namespace, scopes=("write",))[1]))
    stored = writer.data("remember", content="Tea is green")["memory"]["id"]
    assert writer.data("forget", ids=[stored])["forgotten"] == [stored]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("prompts/get", {"name": "recall_topic", "arguments": {"topic": "saffron"}}),
        ("resources/read", {"uri": "memory://recent"}),
        ("resources/read", {"uri": "memory://summary"}),
        ("resources/read", {"uri": "memory://{id}"}),
    ],
    ids=lambda each: str(each.get("uri", "")) if isinstance(each, dict) else each,
)
def test_prompts_and_resources_need_read(api, namespace, method, params):
    stored = api.add("Tea with saffron")
    writer = Agent(type(api)(ApiKey.objects.issue(namespace, scopes=("write",))[1]))
    params = json.loads(json.dumps(params).replace("{id}", stored["id"]))
    assert "'read'" in writer.post(method, params).json()["error"]["message"]


# Whose memories


@pytest.fixture
def ada(api):
    return Agent(api, "/mcp/users/ada")


@pytest.fixture
def theirs(api):
    """Memories of others in the same namespace, and one of nobody."""
    return [api.add("Tea of Bob", user_id="bob", tags=["t"]), api.add("Tea of nobody", tags=["t"])]


def test_a_pinned_user_is_no_argument(ada, api):
    tools = ada.tools()
    assert "session_context" not in tools
    assert all("user" not in tool["inputSchema"]["properties"] for tool in tools.values())
    stored = ada.data("remember", content="Tea of Ada", user="bob")
    assert api.get(f"/memories/{stored['memory']['id']}").json()["user_id"] == "ada"
    assert "user" in stored["notes"][0]


def test_a_pinned_user_finds_nothing_of_others(ada, theirs, api):
    mine = ada.data("remember", content="Tea of Ada")["memory"]["id"]
    for tool, arguments in (
        ("recall", {"query": "tea"}),
        ("recall", {"query": "tea", "user": "bob"}),
        ("recall", {"query": "tea", "user": "*"}),
        ("context", {"query": "tea"}),
        ("context", {}),
        ("list_memories", {}),
        ("list_memories", {"user": "bob"}),
        ("list_memories", {"tags": ["t"], "user": "*"}),
    ):
        found = ada.data(tool, **arguments)["results"]
        assert [hit["id"] for hit in found] == ([] if "tags" in arguments else [mine]), (tool, arguments)
    status = ada.call("memory_status")
    assert status.data["total_memories"] == 1 and "bob" not in status.text


@pytest.mark.parametrize("tool", ["get_memory", "update_memory", "forget", "remember"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_pinned_user_reaches_no_memory_of_others_by_its_id(ada, theirs, api, tool, number):
    other = theirs[number]
    arguments = {
        "get_memory": {"id": other["id"]},
        "update_memory": {"id": other["id"], "content": "Mine"},
        "forget": {"ids": [other["id"]]},
        "remember": {"content": "Coffee of Ada", "replaces": [other["id"]]},
    }
    assert ada.fault(tool, **arguments[tool]) == NO_MEMORY
    assert api.get(f"/memories/{other['id']}").json() == {
        name: value for name, value in other.items() if name != "created"
    }


def test_a_pinned_user_reads_and_changes_the_own_ones(ada):
    mine = ada.data("remember", content="Tea of Ada")["memory"]["id"]
    assert ada.data("get_memory", id=mine)["memory"]["user"] == "ada"
    assert ada.data("update_memory", id=mine, importance=5)["memory"]["importance"] == 5
    assert ada.data("forget", ids=[mine])["forgotten"] == [mine]


def test_passages_that_belong_to_another_user_stay_hidden(ada, api):
    api.add("Harbour manual of Bob", user_id="bob", memory_type="rag")
    api.post("/documents", {"content": "The harbour opens at nine."})
    found = ada.data("search_knowledge", query="harbour")["results"]
    assert [hit["content"] for hit in found] == ["The harbour opens at nine."]


def test_resources_of_a_pinned_user_are_the_own_ones(ada, theirs):
    mine = ada.data("remember", content="Tea of Ada")["memory"]["id"]

    def read(uri):
        return ada.ask("resources/read", {"uri": uri})["contents"][0]["text"]

    assert "Tea of Ada" in read("memory://recent") and "Bob" not in read("memory://recent")
    assert "bob" not in read("memory://summary")
    assert json.loads(read(f"memory://{mine}"))["memory"]["id"] == mine
    assert ada.post("resources/read", {"uri": f"memory://{theirs[0]['id']}"}).json()["error"]["message"] == NO_MEMORY
    prompts = [each["name"] for each in ada.ask("prompts/list")["prompts"]]
    assert prompts == ["recall_topic", "memory_guide"]


def test_a_user_with_a_slash_is_pinned_too(api):
    stored = Agent(api, "/mcp/users/team/ada/").data("remember", content="Tea")
    assert stored["memory"]["user"] == "team/ada"


@pytest.mark.parametrize("user", ["a/memories", "%00", "a/../b", "x" * 256])
def test_a_user_that_there_cannot_be_is_refused(api, user):
    answer = Agent(api, f"/mcp/users/{user}").post("tools/list")
    assert is_problem(answer, 422) or is_problem(answer, 404)


def test_headers_are_defaults_and_arguments_win(api, theirs):
    headers = {"X-Memory-User": "Zoë".encode().decode("latin-1"), "X-Memory-Project": "shop", "X-Memory-Session": "s1"}
    agent = Agent(api, **headers)
    stored = agent.data("remember", content="Tea of Zoë")["memory"]
    assert (stored["user"], stored["project"], stored["session"]) == ("Zoë", "shop", "s1")

    def recall(**given):
        return {hit["content"] for hit in agent.data("recall", query="tea", **given)["results"]}

    assert recall() == {"Tea of Zoë"}
    assert recall(user="bob") == set()  # not in the project
    assert recall(user="bob", project="*") == {"Tea of Bob"}
    assert recall(user="*", project="*") == {"Tea of Zoë", "Tea of Bob", "Tea of nobody"}
    api.post("/sessions/s1/interactions", {"query": "When?", "answer": "At nine."})
    assert agent.data("session_context")["interactions"][0]["answer"] == "At nine."


@pytest.mark.parametrize("header", ["X-Memory-User", "X-Memory-Project", "X-Memory-Session"])
def test_a_wrong_header_is_named(api, header):
    answer = Agent(api).post("tools/list", **{header: "x" * 300})
    assert is_problem(answer, 422)
    assert answer.json()["errors"][0]["field"] == header


def test_no_tool_is_called_twice_in_the_metrics(agent, monkeypatch):
    counted = []
    monkeypatch.setattr("memory_site.core.http.request_metrics.count_request", lambda *each: counted.append(each[:2]))
    agent.data("remember", content="Tea")
    agent.tools()
    agent.fault("no_such_tool_with_an_id_4711")
    assert counted == [("mcp.remember", 200), ("mcp", 200), ("mcp", 200)]


def test_a_fault_of_ours_is_a_sentence_without_details(agent, monkeypatch, caplog):
    monkeypatch.setattr("memory_site.mcp_server.operations.find_view", lambda *_: 1 / 0)
    sentence = "Something went wrong here; the log knows more."
    assert agent.fault("recall", query="tea") == sentence
    error = agent.post("resources/read", {"uri": "memory://recent"}).json()["error"]
    assert (error["code"], error["message"]) == (-32603, sentence)
    faults = [each for each in caplog.records if each.name == "memory_site.mcp_server.faults"]
    assert [each.getMessage() for each in faults] == ["The tool recall failed", "resources/read failed"]
    assert all(each.exc_info[0] is ZeroDivisionError for each in faults)
