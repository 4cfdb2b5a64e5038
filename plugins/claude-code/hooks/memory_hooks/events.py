"""What each hook does, and how long it may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .api import FORBIDDEN, Away, Refused
from .capture import build_requests
from .cleaning import clean
from .fence import fence
from .project import find_project
from .queue import Queue
from .recall import Known, fetch_context, fetch_newest, fetch_turns, format_known
from .settings import Settings

#: Seconds in which Stop and SessionStart send the queue, and SessionEnd, which Claude Code itself cuts short.
SEND_SECONDS, END_SECONDS = 4.0, 1.0
#: Of a query, which is the beginning of a prompt.
MAX_QUERY_LENGTH = 2_000

Hook = dict[str, Any]


def start_session(settings: Settings, hook: Hook) -> Hook:
    """Tell what is known about the project and its user, and after compacting the last turns."""
    if not settings.key:
        return {"systemMessage": "Memory: MEMORY_KEY is not set, so nothing is recalled and nothing stored."}
    deadline = time.monotonic() + settings.seconds
    output: Hook = {}
    try:
        output = context_output(hook, fence(list_known(settings, hook, deadline), settings.tokens))
    except Refused as error:
        return {"systemMessage": say_refusal(settings, error)}
    except Away:
        output = {"systemMessage": f"Memory: {settings.url} does not answer; turns are kept and sent later."}
    refusal = Queue(settings).send(time.monotonic() + SEND_SECONDS)
    if refusal == FORBIDDEN:
        output["systemMessage"] = f"Memory: the key in MEMORY_KEY may not write ({refusal}), so no turn is stored."
    elif refusal:
        output["systemMessage"] = say_refusal(settings, refusal)
    return output


def say_refusal(settings: Settings, status: object) -> str:
    return f"Memory: {settings.url} refuses the key in MEMORY_KEY ({status})."


def list_known(settings: Settings, hook: Hook, deadline: float) -> list[str]:
    if not settings.recall:
        return []
    project = settings.project or find_project(str(hook.get("cwd") or "")) or "project"
    turns = fetch_turns(settings, hook, deadline) if hook.get("source") == "compact" else []
    known = fetch_context(settings, hook, f"{project}: decisions, preferences, conventions, open tasks", deadline)
    newest = fetch_newest(settings, project, deadline)
    return [*turns, *format_known(hook, Known([*newest, *known.memories], known.preferences))]


def submit_prompt(settings: Settings, hook: Hook) -> Hook:
    """Tell what is known about the prompt."""
    query = clean(str(hook.get("prompt") or "")).text[:MAX_QUERY_LENGTH]
    if not (settings.key and settings.recall) or len(query) < 4 or query.startswith(("/", "!", "#")):
        return {}
    deadline = time.monotonic() + settings.seconds
    try:
        known = fetch_context(settings, hook, query, deadline)
    except (Away, Refused):
        return {}
    Queue(settings).send(deadline)
    return context_output(hook, fence(format_known(hook, known), settings.tokens))


def stop(settings: Settings, hook: Hook) -> Hook:
    """Store the turn, by the queue; without it, when that cannot be written."""
    if not settings.key or not settings.capture or hook.get("agent_id"):
        return {}
    requests = build_requests(settings, hook)
    queue, deadline = Queue(settings), time.monotonic() + SEND_SECONDS
    try:
        queue.add(requests)
    except OSError as error:  # a full disk, a folder that may not be written
        if queue.send_unkept(requests, deadline):
            return {}
        reason = error.strerror or type(error).__name__
        return {"systemMessage": f"Memory: this turn is lost: no answer of {settings.url}, and no queue ({reason})."}
    queue.send(deadline)
    return {}


def end_session(settings: Settings, hook: Hook) -> Hook:
    """Send what waits, as far as there is time."""
    if settings.key:
        Queue(settings).send(time.monotonic() + END_SECONDS)
    return {}


def context_output(hook: Hook, context: str) -> Hook:
    """Return what Claude Code adds to the conversation."""
    if not context:
        return {}
    specific = {"hookEventName": hook["hook_event_name"], "additionalContext": context}
    return {"suppressOutput": True, "hookSpecificOutput": specific}


#: The function of each hook and the seconds after which it ends, whatever it waits for.
HOOKS: dict[str, tuple[Callable[[Settings, Hook], Hook], Callable[[Settings], float]]] = {
    "SessionStart": (start_session, lambda settings: settings.seconds + SEND_SECONDS + 1),
    "UserPromptSubmit": (submit_prompt, lambda settings: settings.seconds + 0.5),
    "Stop": (stop, lambda settings: SEND_SECONDS + 2),
    "SessionEnd": (end_session, lambda settings: END_SECONDS + 0.3),
}
