"""Schemas of tool results."""

from typing import Any

from ninja import Schema
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from memories.memory_types import Importance
from memories.schemas import ImportanceLevel, MemoryOut, UniqueTags
from memory_site.core.http.fields import FutureTimestamp, InputSchema, JsonObject, Label, Summary
from memory_site.core.http.path_labels import PathLabel, RepoId, UserId

EXAMPLE_ACCOUNT: JsonDict = {"attributes": {"type": "Account"}, "Id": "001000000000001AAA", "Name": "Acme Corp"}
TOOL_RESULT_EXAMPLE: JsonDict = {
    "user_id": "ada",
    "agent_id": "crm",
    "tool": "search_accounts",
    "result": {"records": [EXAMPLE_ACCOUNT]},
}


class ToolResultIn(InputSchema):
    """The result of a tool. Only `agent_id`, `tool` and `result` are required."""

    model_config = ConfigDict(json_schema_extra={"example": TOOL_RESULT_EXAMPLE})

    agent_id: Label
    tool: Label = Field(description="The name of the tool.")
    result: Any = Field(description="Any JSON.", json_schema_extra={"x-anything": True})
    user_id: UserId | None = None
    session_id: Label | None = None
    workflow_id: PathLabel | None = None
    repo_id: RepoId | None = None
    summary: Summary | None = Field(default=None, description="Generated when it is not given.")
    metadata: JsonObject = {}
    tags: UniqueTags = []
    importance: ImportanceLevel = Importance.MEDIUM.value
    expires_at: FutureTimestamp | None = Field(default=None, description="Expiry of the result; its entities stay.")


class ToolResultOut(Schema):
    memory: MemoryOut
    entities: list[MemoryOut] = Field(description="The first 200 entities of the result.")
    truncated: bool = Field(description="True when `data` contains the beginning of the result as a text.")
