"""How to search: what the bench varies, and what a test search stores as JSON."""

from typing import Annotated, Literal

from pydantic import Field

from memories.search.filters import Filters
from memory_site.core.http.fields import InputSchema, QueryText, UnitInterval

SEARCH, RECALL = "search", "recall"
MAX_LIMIT = 50


class Setting(InputSchema):
    """`floor` None is the model's own level and 0 none, as in POST /memories/search and /memories/recall."""

    query: QueryText
    mode: Literal["hybrid", "vector", "text"] = "hybrid"
    ranking: Literal["search", "recall"] = "search"
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 10
    threshold: float | None = Field(default=None, ge=-1, le=1)
    floor: UnitInterval | None = 0
    filters: Filters | None = None

    @property
    def vector(self) -> None:
        """The bench has queries only; a search request may bring a vector instead."""
        return None
