"""/search: one search over everything a namespace knows."""

import time

from django.http import HttpRequest
from ninja import Router
from pydantic import ConfigDict, Field, model_validator

from memories.api import search_vector
from memories.filters import Filters, Kind
from memories.find import find
from memories.insights.projects_schemas import Relation
from memories.insights.unified import everything, labelled
from memories.schemas import HitOut, SearchIn, SearchOut
from memories.search import Search
from memory_site.answers import PROBLEMS, answer
from memory_site.auth import reads
from memory_site.idempotency import idempotent
from memory_site.schemas import Label, Query

router = Router(tags=["search"])


class UnifiedIn(SearchIn):
    """What to look for; a given vector spares the embedder."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "how are deploys done?", "project": "shop-web"}})

    query: Query
    project: Label | None = Field(None, description="What is near to it weighs more; nothing is hidden.")
    memory_types: list[Kind] | None = Field(None, min_length=1, max_length=64)
    user_id: Label | None = None

    @model_validator(mode="after")
    def nothing_said_twice(self) -> "UnifiedIn":
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
    relation: Relation | None = Field(description="Of its project to the one asked for; null when there is none.")
    is_current_project: bool


class UnifiedOut(SearchOut):
    results: list[UnifiedHitOut]


@router.post("/search", auth=reads, response={200: UnifiedOut, **PROBLEMS})
@idempotent(atomic=False)
def search_everything(request: HttpRequest, payload: UnifiedIn):
    """Find whatever the namespace knows: memories of every type and source, each content once. With a project what is
    near to it weighs more. Changes nothing."""
    started = time.perf_counter()
    caller, (vector, degraded) = request.auth, search_vector(payload, request.auth.embedding_model)
    order = everything(caller.namespace_id, payload.project)
    query = None if payload.mode == "vector" else payload.query
    search = Search(query, vector, caller.embedding_model, payload.limit, payload.threshold, order)
    hits = [labelled(hit) for hit in find(caller.namespace_id, payload.conditions(), search, explain=payload.explain)]
    took = round((time.perf_counter() - started) * 1000, 2)
    return answer({"results": hits, "mode": payload.mode, "degraded": degraded, "took_ms": took})
