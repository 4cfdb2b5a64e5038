"""The tools that find memories by what they say, and list them."""

from typing import Any

from pydantic import Field

from memory_site.mcp_server.answers import Answer
from memory_site.mcp_server.arguments import Arguments, MaxTokens, Project, User
from memory_site.mcp_server.tools.fields import AllTags, Limit, Since, Types, Until
from memory_site.mcp_server.tools.hits import (
    ASK_FOR_MORE,
    DEGRADED,
    NOTHING_FOUND,
    Hits,
    describe_hits,
    search_hit,
    to_hit,
)
from memory_site.mcp_server.tools.tool import Call, tool
from sessions_app.models import WRITE


class Recall(Arguments):
    query: str = Field(description="A question or key words.")
    limit: Limit = 8
    max_tokens: MaxTokens = 2000
    project: Project = None
    user: User = None
    tags: AllTags | None = None
    types: Types | None = None
    since: Since | None = None
    until: Until | None = None


@tool("Recall", Recall, Hits)
def recall(call: Call, given: Recall) -> Answer:
    """Use before answering anything that may depend on earlier conversations, the user's preferences or this project's
    history. Finds by meaning and by words. Each hit begins with the id that update_memory and forget take."""
    body = {"query": given.query, "limit": given.limit, "filters": build_filters(call, given) or None}
    found = search(call, body)
    hits = [search_hit(each) for each in found["results"]]
    answer = describe_hits(hits, given.max_tokens, NOTHING_FOUND, ASK_FOR_MORE)
    answer.notes += [DEGRADED] if found["degraded"] else []
    return answer


def search(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Search, and count an access on each hit unless the key may only read.

    A model takes what it is given for knowledge: the model's own floor leaves out what the query has nothing in common
    with.
    """
    operation = "recall_memories" if call.has_scopes(WRITE) else "search_memories"
    return call.api.call("POST", operation, body | {"floor": None})


def build_filters(call: Call, given: Any) -> dict[str, Any]:
    """Return the API's filters for the arguments of a tool that finds memories."""
    filters = {
        "user_id": call.subject.pick_user(given.user),
        "repo_id": call.subject.pick_project(given.project),
        "tags": given.tags,
        "memory_types": given.types,
        "created_after": given.since,
        "created_before": getattr(given, "until", None),
    }
    return {name: value for name, value in filters.items() if value is not None}


class ListMemories(Arguments):
    tags: AllTags | None = None
    types: Types | None = None
    project: Project = None
    user: User = None
    since: Since | None = None
    cursor: str | None = Field(default=None, description="`next` of the page before.")
    limit: Limit = 20
    max_tokens: MaxTokens = 4000


class Page(Hits):
    next: str | None = Field(default=None, description="The `cursor` of the following page.")


@tool("List memories", ListMemories, Page)
def list_memories(call: Call, given: ListMemories) -> Answer:
    """Use to browse what is stored, newest first; not for questions (use recall). `next` continues the list."""
    query = build_filters(call, given) | {"cursor": given.cursor, "limit": given.limit}
    page = call.api.call("GET", "list_memories", query=query)
    hits = [to_hit(each) for each in page["results"]]
    answer = describe_hits(hits, given.max_tokens, "There are no such memories.", "the cursor goes on with them.")
    if shown := len(answer.data["results"]):
        page = page if shown == len(hits) else call.api.call("GET", "list_memories", query=query | {"limit": shown})
    if page["next"]:
        answer.data["next"] = page["next"]
        answer.notes.append(f"There are more: cursor {page['next']}")
    return answer
