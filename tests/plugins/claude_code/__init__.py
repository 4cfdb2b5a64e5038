"""The hooks of Claude Code's plugin, function by function: what is read, removed, fenced and queued."""

from pathlib import Path

PLUGIN = Path(__file__).resolve().parents[3] / "plugins" / "claude-code"
HOOKS = PLUGIN / "hooks"


def make_request(number: int) -> dict:
    return {"id": f"id-{number}", "path": "/x", "body": {"number": number}}
