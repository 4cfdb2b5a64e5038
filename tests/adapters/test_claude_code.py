"""The real Claude Code, which the Agent SDK brings along, with the plugin and with what `connect` writes.

Its model is a small server here that gives one answer and keeps what it was asked: nothing leaves the machine.
"""

import json
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import claude_agent_sdk
import pytest

from tests.adapters.conftest import PYTHON, ROOT, Site
from tests.plugins.claude_code.patient import copy_patient_plugin

CLAUDE = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
#: Nothing listens there.
NOWHERE = "http://127.0.0.1:9"
ANSWER = "At nine, as far as I know."

pytestmark = pytest.mark.skipif(not CLAUDE.exists(), reason="this wheel has no Claude Code")


class Model(ThreadingHTTPServer):
    """The Messages API, as far as one prompt needs it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Model

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append(json.dumps(json.loads(body), ensure_ascii=False))
        self.reply(200, "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in build_events()))

    def do_GET(self) -> None:
        self.reply(404, "")

    def do_HEAD(self) -> None:
        self.reply(404, "")

    def reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


def build_events() -> Iterator[dict[str, Any]]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": usage}
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_start", "message": message | {"stop_reason": None, "stop_sequence": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": ending, "usage": usage}
    yield {"type": "message_stop"}


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as model:
        threading.Thread(target=model.serve_forever, daemon=True).start()
        yield model
        model.shutdown()


@pytest.fixture
def environment(site: Site, tmp_path: Path) -> dict[str, str]:
    """A home of its own, and nothing of the surroundings."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "MEMORY_URL": site.url,
        "MEMORY_KEY": site.key,
        "MEMORY_USER": f"ada-{uuid4().hex[:8]}",
        "MEMORY_RECALL_SECONDS": "100",
        "MCP_TIMEOUT": "100000",
        "ANTHROPIC_API_KEY": "none",
        "ANTHROPIC_BASE_URL": NOWHERE,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return copy_patient_plugin(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


def run_claude(*words: str, environment: dict[str, str], folder: Path) -> str:
    argv = [str(CLAUDE), *words]
    done = subprocess.run(
        argv, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def call(site: Site, path: str, body: dict[str, Any] | None = None) -> Any:
    headers = {"Authorization": f"Bearer {site.key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{site.url}/api/v1{path}", data, headers)) as answer:
        return json.load(answer)


def test_prompt_reaches_the_model_with_what_is_known_and_the_turn_is_stored(site, model, environment, folder, plugin):
    fact = "The harbour of Kvalsund opens at nine in the morning."
    memory = call(site, "/memories?wait=true", {"content": fact, "user_id": environment["MEMORY_USER"]})
    session, prompt = str(uuid4()), "When does the harbour open? <private>PIN 4711</private>"
    out = run_claude(
        *("--plugin-dir", str(plugin), "--session-id", session, "-p", prompt),
        environment=environment | {"ANTHROPIC_BASE_URL": model.url},
        folder=folder,
    )
    assert out.strip() == ANSWER
    asked = next(text for text in model.asked if "When does the harbour open?" in text)
    assert "<recalled-memories>" in asked
    assert f"[{memory['id']}]" in asked
    assert fact in asked
    [turn] = call(site, f"/sessions/{session}/context")["interactions"]
    assert (turn["query"], turn["answer"]) == (
        "When does the harbour open?",
        "[not stored: the question had a private part]",
    )
    stored = run_claude(
        *("--plugin-dir", str(plugin), "--resume", session, "-p", "And on Sundays?"),
        environment=environment | {"ANTHROPIC_BASE_URL": model.url},
        folder=folder,
    )
    assert stored.strip() == ANSWER
    newest = call(site, f"/sessions/{session}/context?limit=1")["interactions"][0]
    assert (newest["query"], newest["answer"]) == ("And on Sundays?", ANSWER)


def test_site_that_is_away_stops_no_prompt(model, environment, folder, plugin):
    away = {"MEMORY_URL": NOWHERE, "ANTHROPIC_BASE_URL": model.url}
    words = ("--plugin-dir", str(plugin), "-p", "When does the harbour open?")
    out = run_claude(*words, environment=environment | away, folder=folder)
    assert out.strip() == ANSWER
    [queue] = (Path(environment["HOME"]) / ".claude").rglob("queue-*.jsonl")
    assert json.loads(queue.read_text())["body"]["query"] == "When does the harbour open?"


def test_plugin_is_valid_and_reaches_the_site_once_installed(environment, folder):
    claude = {"environment": environment, "folder": folder}
    for part in (".claude-plugin", "plugins"):
        shutil.copytree(ROOT / part, folder / part)
    assert "Validation passed" in run_claude("plugin", "validate", str(folder / "plugins/claude-code"), **claude)
    run_claude("plugin", "marketplace", "add", str(folder), **claude)
    run_claude("plugin", "install", "memory@memory-site", **claude)
    servers = run_claude("mcp", "list", **claude)
    assert f"plugin:memory:memory: {environment['MEMORY_URL']}/mcp" in servers
    assert "Connected" in servers


def test_claude_code_reaches_the_site_by_what_connect_writes(site, environment, folder):
    words = ("connect", "claude-code", "--url", site.url, "--project", "shop")
    ours = {"DATA_DIR": site.data, "EMBEDDER": "onnx", "SCRATCH_SITE": "1"}
    argv = [PYTHON, str(ROOT / "manage.py"), *words]
    variables = {name: environment[name] for name in ("PATH", "HOME")} | ours
    done = subprocess.run(argv, env=variables, cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "offers 10 tools: " in done.stderr
    key = done.stdout.strip().removeprefix("export MEMORY_KEY=")
    shown = run_claude("mcp", "get", "memory", environment=environment | {"MEMORY_KEY": key}, folder=folder)
    assert "Connected" in shown
    assert f"{site.url}/mcp" in shown
