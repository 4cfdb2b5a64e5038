"""What a project sees: its own memories, those of its dependencies and groups, and global insights."""

from collections.abc import Iterator

from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from memories.insights.redaction import redact_project_name
from memories.schemas import remove_duplicates
from memories.search.filters import Filters
from memories.search.query import Ranking
from memory_site.core.http.fields import Label

#: A global insight weighs less than one of the same group (0.8, migration 0003_functions).
GLOBAL_INSIGHT_WEIGHT = 0.7
VISIBLE_PROJECTS_SQL = "SELECT project FROM insights_visible_projects(%s, %s::varchar[])"
VISIBLE_TO_PROJECT_SQL = f"""(
    memories_memory.repo_id = ANY(ARRAY({VISIBLE_PROJECTS_SQL}))
    OR memories_memory.memory_type = 'insight' AND EXISTS (
        SELECT FROM insights_insight insight
        WHERE insight.memory_id = memories_memory.id
          AND (insight.projects && ARRAY({VISIBLE_PROJECTS_SQL}) OR insight.collection = 'global')
    )
)"""
# The visible project with the greatest weight that a hit belongs to. MATERIALIZED: the visible projects are computed
# once and not for each hit.
NEAREST_PROJECT_JOIN = """
LEFT JOIN insights_insight insight ON insight.memory_id = memory.id
LEFT JOIN LATERAL (
    WITH visible AS MATERIALIZED (SELECT * FROM insights_visible_projects(%(namespace)s, %(names)s::varchar[]))
    SELECT project, weight, relation FROM visible
    WHERE project = memory.repo_id OR project = ANY(insight.projects)
    ORDER BY weight DESC, project LIMIT 1
) nearest ON true"""
PROJECT_HIT_COLUMNS = {
    "project": "coalesce(nearest.project, memory.repo_id, insight.projects[1])",
    "relation": "coalesce(nearest.relation, CASE insight.collection WHEN 'global' THEN 'global' END)",
    "is_current_project": "coalesce(nearest.relation = 'current', false)",
}


class VisibleToProjectFilters(Filters):
    """Memories of the projects that a project sees, and insights that name one of these or are global."""

    namespace_id: int
    project: Label

    def iter_conditions(self) -> Iterator[Q]:
        yield from super().iter_conditions()
        parameters = [self.namespace_id, get_project_aliases(self.project)]
        visible = RawSQL(VISIBLE_TO_PROJECT_SQL, parameters * 2, BooleanField())  # noqa: S611  (constant SQL)
        yield Q(visible)


def get_project_aliases(project: str) -> list[str]:
    """Return the project's name, and the redacted one of insights if it differs."""
    return remove_duplicates([project, redact_project_name(project)])


def build_project_ranking(namespace_id: int, project: str, other_weight: float) -> Ranking:
    """Return a ranking that multiplies scores by the weight of the nearest visible project.

    `other_weight` is the weight of hits that belong to none, except global insights.
    """
    global_weight = f"CASE insight.collection WHEN 'global' THEN {GLOBAL_INSIGHT_WEIGHT} END"
    return Ranking(
        score=f"hits.score * coalesce(nearest.weight, {global_weight}, {other_weight})",
        joins=NEAREST_PROJECT_JOIN,
        columns=PROJECT_HIT_COLUMNS,
        parameters={"namespace": namespace_id, "names": get_project_aliases(project)},
        candidates=2,
    )
