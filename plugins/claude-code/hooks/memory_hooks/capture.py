"""What of a turn is stored."""

from __future__ import annotations

import time
import uuid
from typing import Any

from .api import build_session_path
from .cleaning import clean, shorten
from .project import find_project
from .settings import Settings
from .transcript import read_turn

PRIVATE_ANSWER = "[not stored: the question had a private part]"

Hook = dict[str, Any]


def build_requests(settings: Settings, hook: Hook) -> list[Hook]:
    """Return the requests that store the turn: none if all of it is private."""
    answer = str(hook.get("last_assistant_message") or "")
    turn = read_turn(str(hook["transcript_path"]), hook.get("prompt_id"), answer)
    if turn is None:
        return []
    prompt, answer_text = clean(turn.prompt), clean(turn.answer)
    if not prompt.text or not answer_text.text:
        return []
    query = shorten(prompt.text)
    answer = PRIVATE_ANSWER if prompt.had_private else shorten(answer_text.text)
    interaction = {"query": query, "answer": answer, "timestamp": format_now()}
    identity = "\n".join([str(hook["session_id"]), str(hook.get("prompt_id") or ""), query, answer])
    requests = [build_request(build_session_path(hook["session_id"], "interactions"), interaction, identity)]
    if settings.remember and not prompt.had_private:
        requests.append(build_request("/memories", build_memory(settings, hook, query, answer), identity))
    return requests


def build_request(path: str, body: Hook, identity: str) -> Hook:
    """Return a request whose id is the same when the hook runs again for the same turn."""
    return {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{path}\n{identity}")), "path": path, "body": body}


def build_memory(settings: Settings, hook: Hook, query: str, answer: str) -> Hook:
    labels = {
        "user_id": settings.user,
        "repo_id": settings.project or find_project(str(hook.get("cwd") or "")),
        "session_id": str(hook["session_id"]),
        "source_system": "claude-code",
    }
    memory = {"content": f"{query}\n\n{answer}", "memory_type": "conversation"}
    return {**memory, **{name: value for name, value in labels.items() if value}}


def format_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
