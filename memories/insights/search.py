"""Finding insights: a search of memories that knows what an insight says besides, in the same statement."""

from typing import Any

from django.db.models import Q

from memories.insights.redaction import redact_project_name
from memories.insights.schemas import INSIGHT_OUT_COLUMNS, CollectionName, InsightSearchIn, InsightTypeName, insight_out
from memories.models import Memory, MemoryQuerySet
from memories.search.execute import find_memories
from memories.search.filters import Filters
from memories.search.query import Ranking, Search
from memories.types import MemoryType
from memory_site.core.http.fields import Label, UnitInterval

MATCH_ALL_QUERY = "*"
INSIGHT_HIT_COLUMNS = {
    column: column.replace("insight__", "insight.")
    for column in INSIGHT_OUT_COLUMNS.values()
    if column.startswith("insight__")
}
# Also a hit that was found by its words must mean enough, unless there is no vector to tell: then words must do.
MIN_SIMILARITY_SQL = (
    "(%(min_similarity)s::float8 IS NULL OR hits.similarity IS NULL OR hits.similarity >= %(min_similarity)s)"
)


class InsightFilters(Filters):
    """Which insights are wanted."""

    collection: CollectionName | None = None
    insight_type: InsightTypeName | None = None
    project: Label | None = None
    min_quality: UnitInterval | None = None

    @classmethod
    def by(cls, **asked: Any) -> "InsightFilters":
        """With the project's true name, which is not kept where it looks secret."""
        project = asked.pop("project", None)
        return cls(memory_types=[MemoryType.INSIGHT], project=project and redact_project_name(project), **asked)

    def labels(self) -> "InsightFilters":
        return InsightFilters(user_id=self.user_id, memory_types=self.memory_types, repo_id=self.repo_id)

    def iter_conditions(self):
        yield from super().iter_conditions()
        if self.collection is not None:
            yield Q(insight__collection=self.collection)
        if self.insight_type is not None:
            yield Q(insight__insight_type=self.insight_type)
        if self.project is not None:
            yield Q(insight__projects__contains=[self.project])
        if self.min_quality is not None:
            yield Q(insight__quality__gte=self.min_quality)


def get_insight_memories(namespace_id: int, sought: InsightFilters | None = None) -> MemoryQuerySet:
    """The memories that are insights: what every operation of a caller starts from."""
    return Memory.objects.in_namespace(namespace_id).filter(insight__isnull=False).matching(sought)


def find_insights(
    namespace_id: int, payload: InsightSearchIn, vector: list[float] | None, model: str | None
) -> list[dict]:
    """InsightHitOut dictionaries, best first. One statement; a second one only when the index fell short."""
    asked = payload.model_dump(include={"collection", "insight_type", "project", "min_quality"})
    sought = InsightFilters.by(**asked)
    if payload.query.strip() == MATCH_ALL_QUERY:
        rows = (
            get_insight_memories(namespace_id, sought)
            .newest_first()
            .values(*INSIGHT_OUT_COLUMNS.values())[: payload.limit]
        )
        return [build_hit(insight_out(row), score=1.0, similarity=None, text_rank=None, found_by=[]) for row in rows]
    order = Ranking(
        joins="JOIN insights_insight insight ON insight.memory_id = memory.id",
        condition=MIN_SIMILARITY_SQL,
        columns=INSIGHT_HIT_COLUMNS,
        parameters={"min_similarity": payload.min_similarity},
    )
    query = None if payload.mode == "vector" else payload.query
    found = find_memories(namespace_id, sought, Search(query, vector, model, payload.limit, ranking=order))
    return [build_hit(convert_hit_to_insight(each), **each) for each in found]


def convert_hit_to_insight(found: dict[str, Any]) -> dict[str, Any]:
    """A hit's insight, out of its memory and what its ranking says besides."""
    memory = found.pop("memory")
    own = {column: found.pop(column) for column in INSIGHT_HIT_COLUMNS}
    embedded = {"due__due_at": None if memory["embedded"] else memory["updated_at"]}
    return insight_out(memory | own | embedded)


def build_hit(insight: dict[str, Any], **said: Any) -> dict[str, Any]:
    return {"insight": insight} | said
