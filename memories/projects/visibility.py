"""Projects that are near to each other: which there are, what one of them sees, and sharing an insight among them."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, Model, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from memories.edit import save_changes
from memories.insights.models import Insight
from memories.insights.redaction import redact_project_name
from memories.insights.storage import MAX_PROJECTS_PER_INSIGHT, InsightDraft, save_insights
from memories.models import Memory
from memories.search.filters import Filters
from memories.search.query import Ranking
from memory_site.core.errors import InvalidField, NotFound
from memory_site.core.http.fields import Label

#: An insight for all projects weighs less than those of a group.
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
# The project by which a hit is nearest. What is visible is worked out once, not for every hit.
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
    """What a project sees: memories of the projects near to it, and insights that name one of these or are for all."""

    namespace_id: int
    project: Label

    def iter_conditions(self):
        yield from super().iter_conditions()
        near = [self.namespace_id, get_project_aliases(self.project)]
        yield Q(RawSQL(VISIBLE_TO_PROJECT_SQL, near * 2, output_field=BooleanField()))


def get_project_aliases(project: str) -> list[str]:
    """Its own name, and the one that insights know it by where that is another."""
    return list(dict.fromkeys((project, redact_project_name(project))))


def map_redacted_names(projects: Iterable[str]) -> dict[str, str]:
    return {name: redact_project_name(name) for name in projects if redact_project_name(name) != name}


def build_project_ranking(namespace_id: int, project: str, farther: float) -> Ranking:
    """Scores times the weight of the nearest project; `farther` is the weight of what is not near at all, and no
    insight for all projects."""
    for_all = f"CASE insight.collection WHEN 'global' THEN {GLOBAL_INSIGHT_WEIGHT} END"
    return Ranking(
        score=f"hits.score * coalesce(nearest.weight, {for_all}, {farther})",
        joins=NEAREST_PROJECT_JOIN,
        columns=PROJECT_HIT_COLUMNS,
        parameters={"namespace": namespace_id, "names": get_project_aliases(project)},
        candidates=2,
    )


def upsert_project_record(
    kind: type[Model], namespace_id: int, key: dict[str, Any], said: dict[str, Any]
) -> tuple[UUID, bool]:
    """Keep a group or a dependency, or change what is said of it now: its id and whether it is new."""
    mine, changes = {"namespace_id": namespace_id, **key}, said | {"updated_at": timezone.now()}
    row, created = kind.objects.update_or_create(**mine, defaults=changes, create_defaults=said)
    return row.pk, created


def share_text(namespace_id: int, text: str, source: str | None, targets: Sequence[str], workflow: str | None) -> UUID:
    """Keep an insight for the source and its targets: the memory's id. In the caller's transaction."""
    projects = [*([source] if source else []), *targets]
    [(memory_id, _)] = save_insights(namespace_id, [InsightDraft(text, projects=projects, workflow_id=workflow)])
    share_stored_insight(namespace_id, memory_id, source, targets, workflow)
    return memory_id


@transaction.atomic
def share_stored_insight(
    namespace_id: int, memory_id: UUID, source: str | None, targets: Sequence[str], workflow: str | None
) -> None:
    """Let more projects see an insight. Raises Problem 404 when there is none, 422 when they become too many."""
    # Held until the end: two who share the same insight are both heard.
    if not (memory := Memory.objects.in_namespace(namespace_id).select_for_update().filter(pk=memory_id).first()):
        raise NotFound("There is no such insight.")
    if not (insight := Insight.objects.select_for_update().filter(pk=memory_id).first()):
        raise NotFound("There is no such insight.")
    shown = [redact_project_name(name) for name in targets]
    insight.projects = merge_unique(insight.projects, [redact_project_name(source)] if source else [], shown)
    if len(insight.projects) > MAX_PROJECTS_PER_INSIGHT:
        raise InvalidField("target_projects", f"an insight has at most {MAX_PROJECTS_PER_INSIGHT} projects")
    insight.save(update_fields=["projects"])
    before = memory.metadata.get("shared_with")  # the caller's own JSON: it may be anything
    with_whom = [name for name in before if name in insight.projects] if isinstance(before, list) else []
    metadata = memory.metadata | {"share_type": "dependency_aware", "shared_with": merge_unique(with_whom, shown)}
    save_changes(memory, metadata=metadata, workflow_id=memory.workflow_id or workflow)


def merge_unique(*lists: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for each in lists for name in each))
