"""Count and show what a job would do, and create it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count

from memories.jobs import tasks
from memories.jobs.actions import get_action
from memories.jobs.actions.base import Action
from memories.jobs.models import Job
from memories.jobs.parameters import parse_parameters
from memories.models import Memory, MemoryQuerySet
from memories.search.selection import Selection
from memory_site.core.errors import Conflict, InvalidField
from memory_site.core.http.fields import InputSchema

SAMPLES = 10


@dataclass(frozen=True)
class Preview:
    """What would be changed: the exact number of memories, the number in each namespace, and the newest ten."""

    matched: int
    by_namespace: dict[int, int]
    samples: Sequence[Memory]
    warnings: Sequence[str] = ()


class CountChanged(Conflict):
    """The selection has other memories than those that were counted."""

    def __init__(self, expected: int, matched: int) -> None:
        super().__init__(f"{matched:,} memories match now, not {expected:,}. Nothing was started.")
        self.matched = matched


def preview(action_name: str, selection: Selection) -> Preview:
    """Count the memories, which reads each of them when the selection has a text, and return the newest ten.

    Raises InvalidField.
    """
    action = get_action(action_name)
    rows = selection.queryset()
    counts = rows.order_by().values_list("namespace_id").annotate(n=Count("pk"))
    by_namespace = dict(counts.order_by("namespace_id"))
    warnings: list[str] = []
    for namespace_id in by_namespace:
        warnings += action.warn(namespace_id, selection.in_namespace(namespace_id).queryset())
    return Preview(sum(by_namespace.values()), by_namespace, find_samples(rows), warnings)


def check_parameters(namespace_id: int, action_name: str, parameters: dict[str, Any]) -> InputSchema:
    """Return the action's parameters. Raises InvalidField for what is wrong in itself, or in this namespace."""
    action = get_action(action_name)
    parsed = parse_parameters(action, parameters)
    action.check(namespace_id, parsed)
    return parsed


def find_samples(memories: MemoryQuerySet) -> list[Memory]:
    return list(memories.select_related("due", "namespace").defer("search_vector").newest_first()[:SAMPLES])


def create_job(
    namespace_id: int,
    action_name: str,
    parameters: dict[str, Any],
    selection: Selection,
    by: str,
    expected: int | None = None,
) -> Job:
    """Create a job over the memories that match now, and have a worker begin it when the transaction commits.

    With `expected` nothing is created if another number matches. Raises InvalidField, CountChanged.
    """
    action, parsed = get_action(action_name), check_parameters(namespace_id, action_name, parameters)
    selection = selection.in_namespace(namespace_id)
    rows = selection.queryset()
    matched = rows.count()
    if expected is not None and expected != matched:
        raise CountChanged(expected, matched)
    job = Job.objects.create(
        namespace_id=namespace_id,
        action=action.name,
        parameters=parsed.model_dump(mode="json"),
        selection=selection.dump(),
        matched=matched,
        last_id=find_last_id(rows),
        created_by=by,
    )
    job.refresh_from_db()  # the database's times
    tasks.job_trigger.notify_on_commit()
    return job


def find_last_id(memories: MemoryQuerySet) -> UUID | None:
    """Return the greatest id: ids grow with time, so what is stored later does not slip into the job."""
    return memories.order_by("-pk").values_list("pk", flat=True).first()


def require_condition(action: Action, selection: Selection) -> None:
    """Raise InvalidField if a destructive action would take the whole namespace."""
    if action.is_destructive and selection.is_empty:
        raise InvalidField("filters", "must name at least one condition")
