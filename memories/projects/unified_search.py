"""Rank the unified search: each content once, hits that are visible to the project first."""

from dataclasses import replace
from typing import Any

from memories.insights.search import INSIGHT_OF_MEMORY_SQL
from memories.projects.visibility import build_project_ranking
from memories.search.query import Ranking

#: Weight of hits that the project does not see: one must score 1 / 0.7 times higher to rank before the project's own.
OTHER_PROJECT_WEIGHT = 0.7
DEFAULT_RANKING = Ranking(
    joins=f"LEFT JOIN {INSIGHT_OF_MEMORY_SQL}",
    columns={
        "project": "coalesce(memory.repo_id, insight.projects[1])",
        "relation": "NULL::text",
        "is_current_project": "false",
    },
    candidates=2,
)


def build_unified_ranking(namespace_id: int, project: str | None) -> Ranking:
    ranking = DEFAULT_RANKING if project is None else build_project_ranking(namespace_id, project, OTHER_PROJECT_WEIGHT)
    return replace(ranking, distinct_on="memory.content_hash")


def add_source(hit: dict[str, Any]) -> dict[str, Any]:
    return hit | {"source": hit["memory"]["source_system"]}
