"""`manage.py connect` beside a running site: the client's first calls are made, and the commands in its file work."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from memory_site.settings import SCRATCH_VARIABLE
from tests.stack.stack import run_manage, wait_until


@pytest.fixture
def connect(stack, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return lambda *words: run_manage("connect", *words, **stack.environment)


def test_running_site_is_found_and_tried_and_the_key_is_seen_to_work(connect, stack, tmp_path):
    done = connect("cursor")
    assert done.returncode == 0, done.stderr
    assert f"{stack.url}/mcp answers as " in done.stderr
    assert "offers 10 tools: remember, recall" in done.stderr
    assert "The key opens the namespace 'default' and may read and write." in done.stderr

    def list_row() -> dict:
        listed = json.loads(connect("--list", "--format", "json").stdout)
        [row] = [row for row in listed if row["file"] == str(tmp_path / ".cursor/mcp.json")]
        return row

    row = list_row()
    assert (row["url"], row["state"]) == (f"{stack.url}/mcp", "works")
    wait_until(lambda: list_row()["last_used"], 60, "the use of the key is stored")


def test_two_runs_at_once_make_one_key(connect, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(connect, ["cursor", "cursor"]))
    assert [run.returncode for run in runs] == [0, 0], runs
    assert sorted("Made the key" in run.stderr for run in runs) == [False, True]
    assert list((tmp_path / ".cursor").glob("*.bak")) == []


def test_read_only_client_of_one_user_is_offered_reading_tools(connect):
    done = connect("windsurf", "--scopes", "read", "--user", "ada", "--project", "shop")
    assert done.returncode == 0, done.stderr
    assert "recall" in done.stderr
    assert "remember" not in done.stderr


def test_program_that_claude_desktop_starts_speaks_for_the_site(connect, tmp_path):
    done = connect("claude-desktop", "--user", "ada")
    assert done.returncode == 0, done.stderr
    entry = json.loads((tmp_path / ".config/Claude/claude_desktop_config.json").read_text())["mcpServers"]["memory"]
    client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    calls = [("initialize", client), ("tools/list", {})]
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters})
        for number, (method, parameters) in enumerate(calls)
    ]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), SCRATCH_VARIABLE: "1"} | entry["env"]
    argv = [entry["command"], *entry["args"]]
    spoken = subprocess.run(argv, input="\n".join(lines) + "\n", env=env, capture_output=True, text=True, timeout=60)
    assert spoken.returncode == 0, spoken.stderr
    answers = {answer["id"]: answer["result"] for answer in map(json.loads, spoken.stdout.splitlines())}
    assert answers[0]["serverInfo"]["name"] == "memory-site"
    assert "recall" in [tool["name"] for tool in answers[1]["tools"]]


def test_wrong_address_of_a_site_is_told_by_the_exit_code(connect, stack, tmp_path):
    done = connect("cursor", "--url", f"{stack.url}/elsewhere")
    assert done.returncode == 3
    assert "so it is no MCP endpoint of a site" in done.stderr
    assert (tmp_path / ".cursor/mcp.json").exists()
