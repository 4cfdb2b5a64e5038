"""What the site knows."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from .api import REFUSALS, Refused, build_session_path, call
from .project import find_project
from .settings import Settings
from .transcript import read_recent_text

MAX_MEMORIES, MAX_NEWEST, MAX_PREFERENCES, MAX_TURNS = 15, 10, 20, 5
#: Of the newest memories of a project: no chunks of documents, and nothing of a single task.
LASTING_TYPES = ("agent", "insight", "project", "business_fact", "process_knowledge", "technical_knowledge")
#: A memory of another project is worth as much of its score, as in the site's own search.
OTHER_PROJECT_WEIGHT = 0.7

Hook = dict[str, Any]


class Known(NamedTuple):
    """What the site knows: memories, best first, and preferences."""

    memories: list[Hook]
    preferences: list[Hook]


def format_known(hook: Hook, known: Known) -> list[str]:
    """Return one line for each, without what Claude knows from this session anyway."""
    text = read_recent_text(hook.get("transcript_path"))
    memories = {
        memory["id"]: format_memory(memory)
        for memory in known.memories
        if memory["id"] not in text and memory.get("session_id") != hook.get("session_id", "")
    }
    return [*memories.values(), *map(format_preference, known.preferences[:MAX_PREFERENCES])]


def fetch_context(settings: Settings, hook: Hook, query: str, deadline: float) -> Known:
    """Return what is known about a query. Raise Away or Refused."""
    project = settings.project or find_project(str(hook.get("cwd") or ""))
    body = {"query": query, "limit": MAX_MEMORIES}
    body.update({"user_id": settings.user} if settings.user else {})
    answer = call(settings, "/context", body, deadline)
    if answer.status in REFUSALS:
        raise Refused(answer.status)
    if answer.status != 200 or not isinstance(answer.body, dict):
        return Known([], [])
    hits = sorted(answer.body["memories"], key=lambda hit: -weigh(hit, project))
    return Known([hit["memory"] for hit in hits], answer.body["preferences"])


def fetch_newest(settings: Settings, project: str, deadline: float) -> list[Hook]:
    """Return the newest memories of a project: those of the user and of no user, or all of them without a user."""
    from urllib.parse import urlencode  # noqa: PLC0415

    parameters = [("repo_id", project), ("limit", MAX_NEWEST * 2), *(("memory_types", each) for each in LASTING_TYPES)]
    answer = call(settings, f"/memories?{urlencode(parameters)}", None, deadline)
    memories = answer.body["results"] if answer.status == 200 and isinstance(answer.body, dict) else []
    users = (None, settings.user)
    return [each for each in memories if settings.user is None or each["user_id"] in users][:MAX_NEWEST]


def weigh(hit: Hook, project: str | None) -> float:
    other = hit["memory"].get("repo_id") not in (None, project)
    return float(hit["score"]) * (OTHER_PROJECT_WEIGHT if other else 1)


def format_memory(memory: Hook) -> str:
    text = memory.get("summary") or memory["content"]
    project = f" ({memory['repo_id']})" if memory.get("repo_id") else ""
    return f"- [{memory['id']}] {memory['created_at'][:10]}{project}: {text}"


def format_preference(preference: Hook) -> str:
    return f"- preference {preference['key']}: {json.dumps(preference['value'], ensure_ascii=False)}"


def fetch_turns(settings: Settings, hook: Hook, deadline: float) -> list[str]:
    """Return the last turns of this session, oldest first: what compacting has taken from Claude."""
    answer = call(settings, build_session_path(hook["session_id"], f"context?limit={MAX_TURNS}"), None, deadline)
    turns = answer.body["interactions"] if answer.status == 200 and isinstance(answer.body, dict) else []
    return [f"- asked: {turn['query']}\n  answered: {turn['answer']}" for turn in reversed(turns)]
