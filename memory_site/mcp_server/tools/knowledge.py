"""The tool that searches the code and documents that were read in."""

from typing import Any

from pydantic import BaseModel, Field

from memory_site.mcp_server.answers import Answer
from memory_site.mcp_server.arguments import Arguments, MaxTokens
from memory_site.mcp_server.tools.fields import Limit
from memory_site.mcp_server.tools.hits import ASK_FOR_MORE, DEGRADED, NOTHING_FOUND, Hit, describe_hits, search_hit
from memory_site.mcp_server.tools.tool import Call, tool


class SearchKnowledge(Arguments):
    query: str = Field(description="A question about code or documents.")
    repo: str | None = Field(default=None, description="Only this repository.")
    limit: Limit = 5
    max_tokens: MaxTokens = 4000


class Passage(Hit):
    file: str | None = None
    start_line: int | None = None
    end_line: int | None = None


class Passages(BaseModel):
    results: list[Passage]
    left_out: int = 0
    notes: list[str] = []


@tool("Search knowledge", SearchKnowledge, Passages)
def search_knowledge(call: Call, given: SearchKnowledge) -> Answer:
    """Use for questions about the code or documents that were read in; hits name file and lines."""
    body = {"query": given.query, "top_k": given.limit, "repo_id": call.subject.pick_project(given.repo)}
    found = call.api.call("POST", "query_knowledge", body)
    hits = [to_passage(each) for each in found["results"] if is_shared(call, each["memory"])]
    answer = describe_hits(hits, given.max_tokens, NOTHING_FOUND, ASK_FOR_MORE)
    answer.notes += [DEGRADED] if found["degraded"] else []
    return answer


def is_shared(call: Call, memory: dict[str, Any]) -> bool:
    """Return whether a passage belongs to no user, as those of documents do, or may be seen all the same."""
    return memory["user_id"] is None or call.subject.may_see(memory)


def to_passage(found: dict[str, Any]) -> dict[str, Any]:
    hit = search_hit(found)
    position = {"file": found["file_path"], "start_line": found["start_line"], "end_line": found["end_line"]}
    return hit | {name: value for name, value in position.items() if value is not None}
