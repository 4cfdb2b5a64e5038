"""Prompts and resources of /mcp: what a person, and not the model, asks for."""

from typing import Any

from pydantic_core import to_json

from memory_site.mcp_server.faults import NO_MEMORY, ToolFault
from memory_site.mcp_server.profiles import MEMORY_INSTRUCTIONS
from memory_site.mcp_server.tools.finding import ListMemories, Recall, list_memories, recall
from memory_site.mcp_server.tools.reading import GetMemory, get_memory
from memory_site.mcp_server.tools.sessions import SessionContext, session_context
from memory_site.mcp_server.tools.status import Nothing, memory_status
from memory_site.mcp_server.tools.tool import Call

RECENT_LIMIT = 20
RESOURCES = {
    "memory://recent": ("recent", "The newest memories", "text/plain"),
    "memory://summary": ("summary", "How much is stored, by type and user", "application/json"),
}
TEMPLATE = ("memory://{id}", "memory", "One memory with its metadata and relationships", "application/json")
SCHEME = "memory://"
GUIDE = f"""How to use this memory

{MEMORY_INSTRUCTIONS}

1. At the start of a conversation call `context`, with what it is about if you know it.
2. Before answering about people, preferences, decisions or this project's past, call `recall`.
3. When the user states something that will hold later, call `remember`: one fact, with names and dates. Types such as \
user_preference and technical_knowledge last; agent and conversation_fact fade within days.
4. When something has changed, call `remember` with `replaces`, or `update_memory` to correct a mistake.
5. Call `forget` only when the user asks for it, with ids from `recall` or `list_memories`."""


def recall_topic(call: Call, topic: str, since: str | None = None) -> str:
    answer = recall.run(
        call, Recall.model_validate({"query": topic, "limit": 20, "max_tokens": 4000} | drop(since=since))
    )
    return f"Tell me what is remembered about {topic!r}, with dates, and what is missing.\n\n{answer.text}"


def summarise_session(call: Call, session: str) -> str:
    found = session_context.run(call, SessionContext(session=session, limit=50, max_tokens=8000))
    return (
        f"Summarise session {session!r}: decisions, facts that will hold later, and open ends. Then call `remember` for"
        f" each fact that is not known yet.\n\n{found.text}"
    )


def memory_guide(call: Call) -> str:
    return GUIDE


def drop(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value}


#: Name: the function, what it is for, and its arguments with what they mean and whether they are required.
PROMPTS: dict[str, tuple[Any, str, dict[str, tuple[str, bool]]]] = {
    "recall_topic": (
        recall_topic,
        "What is remembered about a topic.",
        {"topic": ("What to look for.", True), "since": ("Only what was stored since this day.", False)},
    ),
    "summarise_session": (
        summarise_session,
        "Sum up a session and remember what will hold.",
        {"session": ("The session's id.", True)},
    ),
    "memory_guide": (memory_guide, "How an agent should use this memory.", {}),
}
#: A session belongs to no user, so it is not shown where the user is pinned.
UNPINNABLE_PROMPTS = {"summarise_session"}


def list_prompts(call: Call) -> list[str]:
    return [name for name in PROMPTS if not (call.subject.pinned and name in UNPINNABLE_PROMPTS)]


def write_prompt(call: Call, name: str, arguments: dict[str, str]) -> str:
    """Return a prompt's text. Raises ToolFault for one that there is not, or that lacks an argument."""
    if name not in list_prompts(call):
        raise ToolFault(f"There is no such prompt; there are {', '.join(list_prompts(call))}.")
    write, _, known = PROMPTS[name]
    if missing := [each for each, (_, required) in known.items() if required and not arguments.get(each)]:
        raise ToolFault(f"The arguments are not valid. {missing[0]}: is required.")
    return write(call, **{each: value for each, value in arguments.items() if each in known})


#: Arguments of prompts, and the label whose values may be meant. Labels of other users stay hidden.
COMPLETED = {"topic": "tags", "session": "session_id"}


def complete(call: Call, argument: str, beginning: str) -> list[str]:
    """Return values of a prompt's argument that begin so."""
    if argument not in COMPLETED or call.subject.pinned:
        return []
    query = {"field": COMPLETED[argument], "prefix": beginning[:255]}
    return [each["value"] for each in call.api.call("GET", "list_labels", query=query)["results"]]


def read_resource(call: Call, uri: str) -> tuple[str, str]:
    """Return a resource's text and media type. Raises ToolFault for one that there is not."""
    if uri == "memory://recent":
        return list_memories.run(call, ListMemories(limit=RECENT_LIMIT)).text, RESOURCES[uri][2]
    if uri == "memory://summary":
        return to_json(memory_status.run(call, Nothing()).data, indent=2).decode(), RESOURCES[uri][2]
    if not uri.startswith(SCHEME):
        raise ToolFault(NO_MEMORY)
    found = get_memory.run(call, GetMemory(id=uri.removeprefix(SCHEME), max_tokens=20_000))
    return to_json(found.data, indent=2).decode(), TEMPLATE[3]
