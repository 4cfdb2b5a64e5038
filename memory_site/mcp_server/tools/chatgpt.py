"""The tools of /mcp/chatgpt: the two that ChatGPT's connectors and deep research call, in the shape that they require.

https://platform.openai.com/docs/mcp: `search(query)` returns `{results: [{id, title, url}]}`, `fetch(id)` returns
`{id, title, text, url, metadata}`, each also as one content item with the same as JSON text.
"""

from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import to_json

from memory_site.mcp_server.answers import Answer, shorten
from memory_site.mcp_server.arguments import Arguments
from memory_site.mcp_server.tools.finding import search as search_memories
from memory_site.mcp_server.tools.one_memory import fetch_memory
from memory_site.mcp_server.tools.tool import Call, build_toolbox, tool

LIMIT = 10
METADATA = ("memory_type", "created_at", "user_id", "repo_id", "tags")
TITLE_TOKENS, TEXT_TOKENS = 20, 20_000


class SearchIn(Arguments):
    query: str = Field(description="A question or key words.")


class FetchIn(Arguments):
    id: str = Field(description="An id from search.")


class Result(BaseModel):
    id: str
    title: str
    url: str


class Results(BaseModel):
    results: list[Result]


class Document(BaseModel):
    id: str
    title: str
    text: str
    url: str
    metadata: dict[str, Any] = {}


@tool("Search", SearchIn, Results)
def search(call: Call, given: SearchIn) -> Answer:
    """Use to find what is remembered about a question. Returns ids that fetch takes."""
    subject = call.subject
    filters = {"user_id": subject.user, "repo_id": subject.project}
    named = {name: value for name, value in filters.items() if value is not None}
    found = search_memories(call, {"query": given.query, "limit": LIMIT, "filters": named or None})
    return as_json({"results": [describe(hit["memory"]) for hit in found["results"]]})


@tool("Fetch", FetchIn, Document)
def fetch(call: Call, given: FetchIn) -> Answer:
    """Use to read in full what search has found, by its id."""
    memory = fetch_memory(call, given.id)
    metadata = {name: memory[name] for name in METADATA if memory[name]}
    return as_json(describe(memory) | {"text": shorten(memory["content"], TEXT_TOKENS), "metadata": metadata})


def describe(memory: dict[str, Any]) -> dict[str, Any]:
    title = memory["summary"] or memory["content"].strip().partition("\n")[0]
    return {"id": memory["id"], "title": shorten(title, TITLE_TOKENS), "url": f"memory://{memory['id']}"}


def as_json(data: dict[str, Any]) -> Answer:
    return Answer(to_json(data).decode(), data, is_json=True)


CHATGPT_TOOLS = build_toolbox(search, fetch)
