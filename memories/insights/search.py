"""Finding insights: a search of memories that knows what an insight says besides, in the same statement."""

from typing import Any

from django.db.models import Q

from memories.insights.redaction import masked
from memories.insights.schemas import COLUMNS, CollectionName, InsightSearchIn, TypeName, insight_out
from memories.models import Memory, MemoryQuerySet
from memories.search.execute import find
from memories.search.filters import Filters
from memories.search.query import Ranking, Search
from memories.types import MemoryType
from memory_site.core.http.fields import Label, Share

EVERYTHING = "*"
OWN = {column: column.replace("insight__", "insight.") for column in COLUMNS.values() if column.startswith("insight__")}
# Also a hit that was found by its words must mean enough, unless there is no vector to tell: then words must do.
MEANT = "(%(min_similarity)s::float8 IS NULL OR hits.similarity IS NULL OR hits.similarity >= %(min_similarity)s)"


class Sought(Filters):
    """Which insights are wanted."""

    collection: CollectionName | None = None
    insight_type: TypeName | None = None
    project: Label | None = None
    min_quality: Share | None = None

    @classmethod
    def by(cls, **asked: Any) -> "Sought":
        """With the project's true name, which is not kept where it looks secret."""
        project = asked.pop("project", None)
        return cls(memory_types=[MemoryType.INSIGHT], project=project and masked(project), **asked)

    def labels(self) -> "Sought":
        return Sought(user_id=self.user_id, memory_types=self.memory_types, repo_id=self.repo_id)

    def _each(self):
        yield from super()._each()
        if self.collection is not None:
            yield Q(insight__collection=self.collection)
        if self.insight_type is not None:
            yield Q(insight__insight_type=self.insight_type)
        if self.project is not None:
            yield Q(insight__projects__contains=[self.project])
        if self.min_quality is not None:
            yield Q(insight__quality__gte=self.min_quality)


def insights(namespace_id: int, sought: Sought | None = None) -> MemoryQuerySet:
    """The memories that are insights: what every operation of a caller starts from."""
    return Memory.objects.in_namespace(namespace_id).filter(insight__isnull=False).matching(sought)


def search(namespace_id: int, payload: InsightSearchIn, vector: list[float] | None, model: str | None) -> list[dict]:
    """InsightHitOut dictionaries, best first. One statement; a second one only when the index fell short."""
    asked = payload.model_dump(include={"collection", "insight_type", "project", "min_quality"})
    sought = Sought.by(**asked)
    if payload.query.strip() == EVERYTHING:
        rows = insights(namespace_id, sought).newest_first().values(*COLUMNS.values())[: payload.limit]
        return [hit(insight_out(row), score=1.0, similarity=None, text_rank=None, found_by=[]) for row in rows]
    order = Ranking(
        joins="JOIN insights_insight insight ON insight.memory_id = memory.id",
        keep=MEANT,
        columns=OWN,
        parameters={"min_similarity": payload.min_similarity},
    )
    query = None if payload.mode == "vector" else payload.query
    found = find(namespace_id, sought, Search(query, vector, model, payload.limit, ranking=order))
    return [hit(of_memory(each), **each) for each in found]


def of_memory(found: dict[str, Any]) -> dict[str, Any]:
    """A hit's insight, out of its memory and what its ranking says besides."""
    memory = found.pop("memory")
    own = {column: found.pop(column) for column in OWN}
    embedded = {"due__after": None if memory["embedded"] else memory["updated_at"]}
    return insight_out(memory | own | embedded)


def hit(insight: dict[str, Any], **said: Any) -> dict[str, Any]:
    return {"insight": insight} | said
