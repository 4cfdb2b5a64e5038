"""Find insights: a search of memories that also filters and returns the columns of insights, in one statement."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Q

from memories.insights.redaction import redact_project_name
from memories.insights.schemas import INSIGHT_OUT_COLUMNS, CollectionName, InsightSearchIn, InsightTypeName, insight_out
from memories.memory_types import MemoryType
from memories.models import Memory, MemoryQuerySet
from memories.search.execute import TimedSearch
from memories.search.filters import Filters
from memories.search.query import Ranking
from memories.seen import seen_memories
from memory_site.core.http.fields import Label, UnitInterval

MATCH_ALL_QUERY = "*"
INSIGHT_HIT_COLUMNS = {
    column: column.replace("insight__", "insight.")
    for column in INSIGHT_OUT_COLUMNS.values()
    if column.startswith("insight__")
}
#: The insight of a hit, to be joined.
INSIGHT_OF_MEMORY_SQL = (
    "insights_insight insight ON insight.namespace_id = memory.namespace_id AND insight.memory_id = memory.id"
)
# The least similarity applies to hits found by words too, except those without a vector to compare.
MIN_SIMILARITY_SQL = (
    "(%(min_similarity)s::float8 IS NULL OR hits.similarity IS NULL OR hits.similarity >= %(min_similarity)s)"
)


class InsightFilters(Filters):
    """Conditions on insights that must all hold."""

    collection: CollectionName | None = None
    insight_type: InsightTypeName | None = None
    project: Label | None = None
    min_quality: UnitInterval | None = None

    @classmethod
    def build(cls, *, project: str | None = None, **conditions: Any) -> "InsightFilters":
        """Return filters for a project by its true name, which the database does not have where it looks secret."""
        redacted = None if project is None else redact_project_name(project)
        return cls(memory_types=[MemoryType.INSIGHT], project=redacted, **conditions)

    def labels(self) -> "InsightFilters":
        return InsightFilters(user_id=self.user_id, memory_types=self.memory_types, repo_id=self.repo_id)

    def iter_conditions(self) -> Iterator[Q]:
        yield from super().iter_conditions()
        if self.collection is not None:
            yield Q(insight__collection=self.collection)
        if self.insight_type is not None:
            yield Q(insight__insight_type=self.insight_type)
        if self.project is not None:
            yield Q(insight__projects__contains=[self.project])
        if self.min_quality is not None:
            yield Q(insight__quality__gte=self.min_quality)


def get_insight_memories(namespace_id: int, filters: InsightFilters | None = None) -> MemoryQuerySet:
    """Return the memories that have an insight row. Every API operation starts here."""
    return Memory.objects.in_namespace(namespace_id).filter(insight__isnull=False).matching(filters)


def find_insights(namespace_id: int, payload: InsightSearchIn, search: TimedSearch) -> list[dict]:
    """Return InsightHitOut dictionaries, best first. One statement; a second one only when the index found too few."""
    filters = InsightFilters.build(
        **payload.model_dump(include={"collection", "insight_type", "project", "min_quality"})
    )
    if payload.query.strip() == MATCH_ALL_QUERY:
        rows = (
            get_insight_memories(namespace_id, filters)
            .newest_first()
            .values(*INSIGHT_OUT_COLUMNS.values())[: payload.limit]
        )
        insights = [insight_out(row) for row in rows]
        seen_memories.add(namespace_id, [{"memory": insight} for insight in insights])
        return [build_hit(each, score=1.0, similarity=None, text_rank=None, found_by=[]) for each in insights]
    ranking = Ranking(
        joins=f"JOIN {INSIGHT_OF_MEMORY_SQL}",
        condition=MIN_SIMILARITY_SQL,
        columns=INSIGHT_HIT_COLUMNS,
        parameters={"min_similarity": payload.min_similarity},
    )
    return [build_hit(pop_insight(hit), **hit) for hit in search.find(namespace_id, filters, ranking=ranking)]


def pop_insight(hit: dict[str, Any]) -> dict[str, Any]:
    """Remove the memory and the columns of insights from a hit; return them as InsightOut."""
    memory = hit.pop("memory")
    own = {column: hit.pop(column) for column in INSIGHT_HIT_COLUMNS}
    embedded = {"due__due_at": None if memory["embedded"] else memory["updated_at"]}
    return insight_out(memory | own | embedded)


def build_hit(insight: dict[str, Any], **scores: Any) -> dict[str, Any]:
    return {"insight": insight} | scores
