"""The tools that change memories."""

from typing import Annotated

from pydantic import BaseModel, Field

from memory_site.mcp_server.answers import Answer
from memory_site.mcp_server.arguments import Arguments, Object, Project, Strings, User
from memory_site.mcp_server.faults import NO_MEMORY, ToolFault
from memory_site.mcp_server.tools.fields import Id
from memory_site.mcp_server.tools.hits import Hit, to_hit
from memory_site.mcp_server.tools.one_memory import call_operation, fetch_memory, require_memory_id
from memory_site.mcp_server.tools.tool import Call, tool

SOURCE_SYSTEM = "mcp"
SECONDS_A_DAY = 86_400
MAX_FORGOTTEN = 20
NOT_EMBEDDED = " Its words are found at once, its meaning as soon as a worker has embedded it."


class Remember(Arguments):
    content: str = Field(description="One fact, complete in itself: names and dates, no 'he' and no 'yesterday'.")
    memory_type: str = Field(
        default="agent",
        description="user_preference, technical_knowledge, business_fact, project or process_knowledge stay important;"
        " agent and conversation_fact fade within days.",
    )
    tags: Strings = []
    importance: int = Field(default=3, description="1 trivial to 5 critical.")
    project: Project = None
    user: User = None
    ttl_days: float | None = Field(default=None, gt=0, le=36_500, description="Forget it after so many days.")
    replaces: Strings = Field(default=[], description="Ids of memories that are wrong from now on.")


class Remembered(BaseModel):
    memory: Hit
    created: bool = Field(description="False when it was known already.")
    embedded: bool = Field(description="Whether it can be found by meaning already.")
    notes: list[str] = []


@tool("Remember", Remember, Remembered, reads=False, writes=True)
def remember(call: Call, given: Remember) -> Answer:
    """Use when the user states a fact, preference, decision or correction that should be known in later conversations;
    one fact each, with names and dates instead of "he" and "yesterday". Never store passwords or keys. Storing the same
    twice is harmless; `replaces` names what is no longer true."""
    body = {
        "content": given.content,
        "memory_type": given.memory_type,
        "source_system": SOURCE_SYSTEM,
        "tags": given.tags,
        "importance": given.importance,
        "user_id": call.subject.pick_user(given.user),
        "repo_id": call.subject.pick_project(given.project),
        "session_id": call.subject.session,
        "ttl_seconds": None if given.ttl_days is None else max(1, round(given.ttl_days * SECONDS_A_DAY)),
        "replaces": [find_changeable(call, each) for each in given.replaces],
    }
    stored = call.api.call("POST", "add_memory", body)
    hit = to_hit(stored)
    first = "Remembered" if stored["created"] else "Known already"
    later = "" if stored["embedded"] else NOT_EMBEDDED
    data = {"memory": hit, "created": stored["created"], "embedded": stored["embedded"]}
    return Answer(f"{first} as {hit['id']}.{later}", data)


class UpdateMemory(Arguments):
    id: Id
    content: str | None = Field(default=None, description="The whole new text.")
    tags: Strings | None = Field(default=None, description="All tags that it has from now on.")
    importance: int | None = Field(default=None, description="1 trivial to 5 critical.")
    metadata: Object | None = Field(default=None, description="All metadata that it has from now on.")


class Updated(BaseModel):
    memory: Hit
    embedded: bool = Field(description="Whether the new content can be found by meaning already.")
    notes: list[str] = []


@tool("Update memory", UpdateMemory, Updated, writes=True)
def update_memory(call: Call, given: UpdateMemory) -> Answer:
    """Use to correct a memory that recall returned; what stood there before is kept in its history. Only the given
    fields change, each as a whole."""
    changes = given.model_dump(exclude={"id"}, exclude_none=True)
    if not changes:
        raise ToolFault("Nothing is to be changed: give content, tags, importance or metadata.")
    memory_id = find_changeable(call, given.id)
    changed = call_operation(call, "PATCH", "update_memory", memory_id, changes)
    return Answer(f"Updated {memory_id}.", {"memory": to_hit(changed), "embedded": changed["embedded"]})


def find_changeable(call: Call, text: str) -> str:
    """Return the id of a memory that may be changed here. Where no user is pinned, the API decides."""
    return fetch_memory(call, text)["id"] if call.subject.pinned else str(require_memory_id(text))


class Forget(Arguments):
    ids: Annotated[Strings, Field(min_length=1, max_length=MAX_FORGOTTEN)] = Field(
        description="Ids from recall or list_memories, 1 to 20."
    )


class Forgotten(BaseModel):
    forgotten: list[str]
    missing: list[str] = Field(default=[], description="Ids of no memory.")
    notes: list[str] = []


@tool("Forget", Forget, Forgotten, reads=False, writes=True, destroys=True)
def forget(call: Call, given: Forget) -> Answer:
    """Use only when the user asks to forget something, or has seen what will go; takes ids from recall or
    list_memories. Operators can bring it back from the trash for some days."""
    forgotten, missing = [], []
    for text in dict.fromkeys(given.ids):
        try:
            call_operation(call, "DELETE", "delete_memory", memory_id := find_changeable(call, text))
            forgotten.append(memory_id)
        except ToolFault:
            missing.append(text)
    if not forgotten:
        raise ToolFault(NO_MEMORY if len(missing) == 1 else NO_MEMORY.replace("this id", "one of these ids"))
    notes = [f"There is no memory with the id {', '.join(missing)}."] if missing else []
    return Answer(f"Forgotten: {', '.join(forgotten)}.", {"forgotten": forgotten, "missing": missing}, notes)
