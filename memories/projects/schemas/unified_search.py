"""Request and response shapes of the unified search."""

from pydantic import ConfigDict, Field, model_validator

from memories.projects.schemas.projects import ProjectRelation
from memories.schemas import FloorIn, FloorOut, HitOut, SearchIn, SearchOut
from memories.search.filters import Filters, MemoryTypeIn
from memory_site.core.http.field_errors import field_error
from memory_site.core.http.fields import Label, QueryText


class UnifiedIn(SearchIn):
    """A search of everything. With a vector, the query is not embedded."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "how are deploys done?", "project": "shop-web"}})

    query: QueryText
    project: Label | None = Field(default=None, description="What this project sees weighs more; nothing is hidden.")
    memory_types: list[MemoryTypeIn] | None = Field(default=None, min_length=1, max_length=64)
    user_id: Label | None = None
    floor: FloorIn = None

    @model_validator(mode="after")
    def reject_repeated_filters(self) -> "UnifiedIn":
        for name in ("memory_types", "user_id"):
            if self.filters and getattr(self, name) is not None and getattr(self.filters, name) is not None:
                raise field_error(f"filters.{name}", f"may not be given with {name} as well")
        return self

    def conditions(self) -> Filters:
        given = self.model_dump(include={"memory_types", "user_id"}, exclude_none=True)
        return (self.filters or Filters()).model_copy(update=given)


class UnifiedHitOut(HitOut):
    source: str = Field(description="The source system of the memory.")
    project: str | None = Field(description="The nearest project of an insight, else the memory's repository.")
    relation: ProjectRelation | None = Field(
        description="Relation of the hit to the project of the request; null if there is none."
    )
    is_current_project: bool


class UnifiedOut(SearchOut):
    results: list[UnifiedHitOut]  # type: ignore[assignment]  # hits with more fields
    floor: FloorOut
