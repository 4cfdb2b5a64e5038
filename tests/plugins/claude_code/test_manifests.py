"""What Claude Code and Python read of it."""

import ast
import json

from memory_hooks.events import HOOKS as EVENTS
from memory_hooks.settings import read_settings

from tests.plugins.claude_code import HOOKS, PLUGIN


def test_hooks_run_on_python_3_9():
    trees = [ast.parse(path.read_text(), feature_version=(3, 9)) for path in HOOKS.rglob("*.py")]
    assert len(trees) > 10
    imported = {node.names[0].name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Import)}
    assert imported <= {
        *("contextlib", "hashlib", "json", "os", "re", "stat", "sys", "threading", "time", "unicodedata", "uuid"),
        *("urllib.error", "urllib.request", "fcntl", "msvcrt"),
    }


def test_manifests_agree():
    plugin = json.loads((PLUGIN / ".claude-plugin/plugin.json").read_text())
    market = json.loads((PLUGIN.parents[1] / ".claude-plugin/marketplace.json").read_text())
    [entry] = market["plugins"]
    assert entry["name"] == plugin["name"]
    assert (PLUGIN.parents[1] / entry["source"]).resolve() == PLUGIN
    configured = json.loads((PLUGIN / "hooks/hooks.json").read_text())["hooks"]
    assert configured.keys() == EVENTS.keys()
    slowest = read_settings({"MEMORY_RECALL_SECONDS": "99"})
    for event, (_, get_limit) in EVENTS.items():
        [command] = configured[event][0]["hooks"]
        assert get_limit(slowest) < command["timeout"]
