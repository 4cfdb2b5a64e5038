"""Wire shapes of the search over everything."""

from pydantic import ConfigDict, Field, model_validator

from memories.projects.schemas.projects import ProjectRelation
from memories.schemas import HitOut, SearchIn, SearchOut
from memories.search.filters import Filters, MemoryTypeIn
from memory_site.core.http.fields import Label, QueryText


class UnifiedIn(SearchIn):
    """What to look for; a given vector spares the embedder."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "how are deploys done?", "project": "shop-web"}})

    query: QueryText
    project: Label | None = Field(None, description="What is near to it weighs more; nothing is hidden.")
    memory_types: list[MemoryTypeIn] | None = Field(None, min_length=1, max_length=64)
    user_id: Label | None = None

    @model_validator(mode="after")
    def reject_repeated_filters(self) -> "UnifiedIn":
        for name in ("memory_types", "user_id"):
            if self.filters and getattr(self, name) is not None and getattr(self.filters, name) is not None:
                raise ValueError(f"{name} may not be given in filters as well")
        return self

    def conditions(self) -> Filters:
        said = self.model_dump(include={"memory_types", "user_id"}, exclude_none=True)
        return (self.filters or Filters()).model_copy(update=said)


class UnifiedHitOut(HitOut):
    source: str = Field(description="The memory's source system.")
    project: str | None = Field(description="Of an insight that by which it is nearest, else the repository.")
    relation: ProjectRelation | None = Field(
        description="Of its project to the one asked for; null when there is none."
    )
    is_current_project: bool


class UnifiedOut(SearchOut):
    results: list[UnifiedHitOut]
