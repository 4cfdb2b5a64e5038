"""Share an insight with projects: add them to its projects and record them in its memory's metadata."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from memories.edit import save_changes
from memories.insights.models import Insight
from memories.insights.redaction import redact_project_name
from memories.insights.storage import MAX_PROJECTS_PER_INSIGHT, InsightDraft, save_insights
from memories.models import Memory
from memories.schemas import remove_duplicates
from memory_site.core.errors import InvalidField, NotFound


def share_text(
    namespace_id: int, text: str, source: str | None, targets: Sequence[str], workflow_id: str | None
) -> UUID:
    """Save an insight for the source and its targets; return the memory's id. Call it in a transaction."""
    projects = [*([source] if source else []), *targets]
    [(memory_id, _)] = save_insights(namespace_id, [InsightDraft(text, projects=projects, workflow_id=workflow_id)])
    share_stored_insight(namespace_id, memory_id, source, targets, workflow_id)
    return memory_id


@transaction.atomic
def share_stored_insight(
    namespace_id: int, memory_id: UUID, source: str | None, targets: Sequence[str], workflow_id: str | None
) -> None:
    """Add projects to an insight.

    Raises NotFound if the insight does not exist, InvalidField if it would have too many projects. Both rows stay
    locked until the transaction ends, so that concurrent shares of the same insight add up.
    """
    memory = Memory.objects.in_namespace(namespace_id).select_for_update().filter(pk=memory_id).first()
    insights = Insight.objects.filter(namespace_id=namespace_id, pk=memory_id).select_for_update()
    insight = None if memory is None else insights.first()
    if memory is None or insight is None:
        raise NotFound("There is no such insight.")
    redacted = [redact_project_name(name) for name in targets]
    insight.projects = remove_duplicates(
        [*insight.projects, *([redact_project_name(source)] if source else []), *redacted]
    )
    if len(insight.projects) > MAX_PROJECTS_PER_INSIGHT:
        raise InvalidField("target_projects", f"an insight has at most {MAX_PROJECTS_PER_INSIGHT} projects")
    insight.save(update_fields=["projects"])
    previous = memory.metadata.get("shared_with")  # metadata is the client's own: this may be anything
    shared_with = [name for name in previous if name in insight.projects] if isinstance(previous, list) else []
    metadata = memory.metadata | {
        "share_type": "dependency_aware",
        "shared_with": remove_duplicates([*shared_with, *redacted]),
    }
    save_changes(memory, metadata=metadata, workflow_id=memory.workflow_id or workflow_id)
