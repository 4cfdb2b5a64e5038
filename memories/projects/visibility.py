"""Projects that are near to each other: which there are, what one of them sees, and sharing an insight among them."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, Model, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from memories.insights.models import Insight
from memories.insights.redaction import masked
from memories.insights.storage import PROJECTS_AT_MOST, InsightDraft, keep
from memories.models import Memory
from memories.search.filters import Filters
from memories.search.query import Ranking
from memory_site.core.http.fields import Label
from memory_site.core.http.problems import Problem, invalid

#: An insight for all projects weighs less than those of a group.
GLOBAL = 0.7
VISIBLE = "SELECT project FROM insights_visible_projects(%s, %s::varchar[])"
IN_SIGHT = f"""(
    memories_memory.repo_id = ANY(ARRAY({VISIBLE}))
    OR memories_memory.memory_type = 'insight' AND EXISTS (
        SELECT FROM insights_insight insight
        WHERE insight.memory_id = memories_memory.id
          AND (insight.projects && ARRAY({VISIBLE}) OR insight.collection = 'global')
    )
)"""
# The project by which a hit is nearest. What is visible is worked out once, not for every hit.
NEAREST = """
LEFT JOIN insights_insight insight ON insight.memory_id = memory.id
LEFT JOIN LATERAL (
    WITH visible AS MATERIALIZED (SELECT * FROM insights_visible_projects(%(namespace)s, %(names)s::varchar[]))
    SELECT project, weight, relation FROM visible
    WHERE project = memory.repo_id OR project = ANY(insight.projects)
    ORDER BY weight DESC, project LIMIT 1
) nearest ON true"""
SEEN_AS = {
    "project": "coalesce(nearest.project, memory.repo_id, insight.projects[1])",
    "relation": "coalesce(nearest.relation, CASE insight.collection WHEN 'global' THEN 'global' END)",
    "is_current_project": "coalesce(nearest.relation = 'current', false)",
}


class InSight(Filters):
    """What a project sees: memories of the projects near to it, and insights that name one of these or are for all."""

    namespace_id: int
    project: Label

    def _each(self):
        yield from super()._each()
        near = [self.namespace_id, names_of(self.project)]
        yield Q(RawSQL(IN_SIGHT, near * 2, output_field=BooleanField()))


def names_of(project: str) -> list[str]:
    """Its own name, and the one that insights know it by where that is another."""
    return list(dict.fromkeys((project, masked(project))))


def masks_of(projects: Iterable[str]) -> dict[str, str]:
    return {name: masked(name) for name in projects if masked(name) != name}


def weighed(namespace_id: int, project: str, farther: float) -> Ranking:
    """Scores times the weight of the nearest project; `farther` is the weight of what is not near at all, and no
    insight for all projects."""
    for_all = f"CASE insight.collection WHEN 'global' THEN {GLOBAL} END"
    return Ranking(
        score=f"hits.score * coalesce(nearest.weight, {for_all}, {farther})",
        joins=NEAREST,
        columns=SEEN_AS,
        parameters={"namespace": namespace_id, "names": names_of(project)},
        candidates=2,
    )


def told(kind: type[Model], namespace_id: int, key: dict[str, Any], said: dict[str, Any]) -> tuple[UUID, bool]:
    """Keep a group or a dependency, or change what is said of it now: its id and whether it is new."""
    mine, changes = {"namespace_id": namespace_id, **key}, said | {"updated_at": timezone.now()}
    row, created = kind.objects.update_or_create(**mine, defaults=changes, create_defaults=said)
    return row.pk, created


def share_text(namespace_id: int, text: str, source: str | None, targets: Sequence[str], workflow: str | None) -> UUID:
    """Keep an insight for the source and its targets: the memory's id. In the caller's transaction."""
    projects = [*([source] if source else []), *targets]
    [(memory_id, _)] = keep(namespace_id, [InsightDraft(text, projects=projects, workflow_id=workflow)])
    share(namespace_id, memory_id, source, targets, workflow)
    return memory_id


@transaction.atomic
def share(namespace_id: int, memory_id: UUID, source: str | None, targets: Sequence[str], workflow: str | None) -> None:
    """Let more projects see an insight. Raises Problem 404 when there is none, 422 when they become too many."""
    # Held until the end: two who share the same insight are both heard.
    if not (memory := Memory.objects.in_namespace(namespace_id).select_for_update().filter(pk=memory_id).first()):
        raise Problem(404, "There is no such insight.")
    if not (insight := Insight.objects.select_for_update().filter(pk=memory_id).first()):
        raise Problem(404, "There is no such insight.")
    shown = [masked(name) for name in targets]
    insight.projects = united(insight.projects, [masked(source)] if source else [], shown)
    if len(insight.projects) > PROJECTS_AT_MOST:
        raise invalid("target_projects", f"an insight has at most {PROJECTS_AT_MOST} projects")
    insight.save(update_fields=["projects"])
    before = memory.metadata.get("shared_with")  # the caller's own JSON: it may be anything
    with_whom = [name for name in before if name in insight.projects] if isinstance(before, list) else []
    metadata = memory.metadata | {"share_type": "dependency_aware", "shared_with": united(with_whom, shown)}
    memory.revise(metadata=metadata, workflow_id=memory.workflow_id or workflow)


def united(*lists: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for each in lists for name in each))
