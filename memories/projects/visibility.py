"""What a project sees: its own memories, those of its dependencies and groups, and global insights."""

from collections.abc import Iterator
from string import Formatter
from typing import Any

from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from memories.insights.redaction import redact_project_name
from memories.insights.search import INSIGHT_OF_MEMORY_SQL
from memories.schemas import remove_duplicates
from memories.search.filters import Filters
from memories.search.query import Ranking
from memory_site.core.http.fields import Label

#: A global insight weighs less than one of the same group.
GLOBAL_INSIGHT_WEIGHT = 0.7
# The projects that a project sees, each once, with its highest weight. `names` are the current project's own name and
# its redacted form; a project whose name looks secret is also listed under the redacted name that insights store.
#
# At an equal match the order is: the current project, its dependencies in both directions, the members of its groups.
# A better match still comes first: that of a neighbour by a ninth (1 / 0.9), that of a group by a quarter (1 / 0.8). So
# a neighbour's exact answer (a score of .9) stands before one of the current project that shares some words (.6).
VISIBLE_PROJECTS_TEMPLATE = """
    SELECT DISTINCT ON (known.name) known.name AS project, near.weight, near.relation
    FROM (
        SELECT unnest({names}), 1.0::float8, 'current'::text, NULL::jsonb
        UNION ALL
        SELECT unnest(ARRAY[source_project, target_project]), 0.9::float8, 'dependency', redacted_names
        FROM insights_projectdependency
        WHERE namespace_id = {namespace} AND (source_project = ANY({names}) OR target_project = ANY({names}))
        UNION ALL
        SELECT unnest(projects), 0.8::float8, 'group', redacted_names
        FROM insights_projectgroup WHERE namespace_id = {namespace} AND projects && {names}
    ) near (name, weight, relation, redacted_names)
    CROSS JOIN LATERAL unnest(ARRAY[near.name, (near.redacted_names ->> near.name::text)::varchar]) known (name)
    WHERE known.name IS NOT NULL
    ORDER BY known.name, near.weight DESC"""
VISIBLE_PROJECTS_SQL = VISIBLE_PROJECTS_TEMPLATE.format(namespace="%(namespace)s", names="%(names)s::varchar[]")
VISIBLE_NAMES_SQL = f"SELECT project FROM ({VISIBLE_PROJECTS_TEMPLATE}) visible"
VISIBLE_TO_PROJECT_SQL = f"""(
    memories_memory.repo_id = ANY(ARRAY({VISIBLE_NAMES_SQL}))
    OR memories_memory.memory_type = 'insight' AND EXISTS (
        SELECT FROM insights_insight insight
        WHERE insight.namespace_id = {{namespace}} AND insight.memory_id = memories_memory.id
          AND (insight.projects && ARRAY({VISIBLE_NAMES_SQL}) OR insight.collection = 'global')
    )
)"""
# The visible project with the greatest weight that a hit belongs to. MATERIALIZED: the visible projects are computed
# once and not for each hit.
NEAREST_PROJECT_JOIN = f"""
LEFT JOIN {INSIGHT_OF_MEMORY_SQL}
LEFT JOIN LATERAL (
    WITH visible AS MATERIALIZED ({VISIBLE_PROJECTS_SQL})
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
        parameters = {"namespace": self.namespace_id, "names": get_project_aliases(self.project)}
        sql, values = with_positional_parameters(VISIBLE_TO_PROJECT_SQL, parameters)
        visible = RawSQL(sql, values, BooleanField())  # noqa: S611  (constant SQL)
        yield Q(visible)


def with_positional_parameters(template: str, parameters: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return SQL of a template as the ORM takes it, which knows no named parameters, and its values in their order."""
    order = [name for _, name, _, _ in Formatter().parse(template) if name]
    return template.format(namespace="%s", names="%s::varchar[]"), [parameters[name] for name in order]


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
