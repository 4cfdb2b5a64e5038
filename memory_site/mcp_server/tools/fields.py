"""Arguments that several tools have."""

from typing import Annotated

from pydantic import Field

from memory_site.mcp_server.arguments import Moment, Strings

Limit = Annotated[int, Field(ge=1, le=50, description="Most hits.")]
Id = Annotated[str, Field(description="The memory's id, from recall or list_memories.")]
Types = Annotated[Strings, Field(description="Only memories of these types.")]
AllTags = Annotated[Strings, Field(description="Only memories with every one of these tags.")]
Since = Annotated[Moment, Field(description="Stored at this day or time, or later, such as 2026-11-30.")]
Until = Annotated[Moment, Field(description="Stored before this day or time.")]
