"""Clean-up as jobs: look at memories, and merge near duplicates."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from memories.cleanup.grouping import find_duplicates
from memories.cleanup.inspect import inspect, select_outdated
from memories.cleanup.likeness import Text, compare
from memories.cleanup.models import Duplicate, Inspection
from memories.jobs.actions.base import Action, Batch, Failure, Outcome
from memories.jobs.models import Job
from memories.models import MAX_TAGS, Memory
from memories.search.selection import Selection
from memories.states import State

NO_LONGER_ALIKE = "It no longer says the same as the other memory, or that one is gone."
TOO_MANY_TAGS = "Both together have more than 256 tags."


class Inspect(Action):
    """Looks at what has changed since the last time, and then compares all. It changes no memory."""

    name, title, icon = "inspect", "Look for duplicates and secrets", "frame_inspect"
    can_undo = False
    in_menu = False
    in_api = False

    def describe(self, parameters: Any, memories: str) -> str:
        return f"Look at {memories} for duplicates and secrets"

    def lock_next(self, job: Job, size: int) -> list[UUID]:
        """Return the next memories that were not looked at since their last change. Nothing is locked."""
        rows = select_outdated(Selection.load(job.selection).in_namespace(job.namespace_id).queryset())
        rows = rows.filter(pk__gt=job.cursor) if job.cursor else rows
        return list(rows.order_by("pk").values_list("pk", flat=True)[:size])

    def apply(self, batch: Batch) -> Outcome:
        inspect(batch.namespace_id, batch.ids)
        return Outcome(len(batch.ids))

    def finish(self, job: Job, parameters: Any) -> dict[str, Any]:
        inspected = Inspection.objects.filter(namespace=job.namespace_id)
        return {
            "duplicates": find_duplicates(job.namespace_id),
            "secrets": inspected.exclude(secrets=[]).count(),
        }


class MergeDuplicates(Action):
    """Has the winner of each duplicate replace it: the tags of both are united, and the greater importance stays."""

    name, title, icon = "merge_duplicates", "Merge near duplicates", "merge"
    in_menu = False
    in_api = False

    def describe(self, parameters: Any, memories: str) -> str:
        return f"Replace {memories} by what says the same"

    def apply(self, batch: Batch) -> Outcome:
        found = Duplicate.objects.filter(namespace=batch.namespace_id, memory__in=batch.ids, dismissed=False)
        pairs = dict(found.values_list("memory_id", "winner_id"))
        memories = lock_active(batch.namespace_id, {*pairs, *pairs.values()})
        merged = [pk for pk in batch.ids if is_still_alike(memories.get(pk), memories.get(pairs.get(pk, pk)))]
        failures = [Failure(pk, NO_LONGER_ALIKE) for pk in batch.ids if pk not in set(merged)]
        for winner, losers in group_by_winner(pairs, merged).items():
            failures += merge(memories[winner], [memories[pk] for pk in losers])
        return Outcome(len(batch.ids) - len(failures), failures)


def lock_active(namespace_id: int, ids: Iterable[UUID]) -> dict[UUID, Memory]:
    rows = Memory.objects.in_namespace(namespace_id).filter(pk__in=list(ids)).order_by("pk")
    columns = ("namespace_id", "content", "tags", "importance", "owner", "memory_type", "repo_id", "key")
    return {memory.pk: memory for memory in rows.select_for_update(no_key=True).only(*columns)}


def is_still_alike(loser: Memory | None, winner: Memory | None) -> bool:
    if loser is None or winner is None or loser.key is not None:
        return False
    scopes = [(each.owner, each.memory_type, each.repo_id) for each in (loser, winner)]
    return scopes[0] == scopes[1] and compare(Text.of(loser.content), Text.of(winner.content)) > 0


def group_by_winner(pairs: dict[UUID, UUID], losers: Iterable[UUID]) -> dict[UUID, list[UUID]]:
    groups: dict[UUID, list[UUID]] = {}
    for pk in losers:
        groups.setdefault(pairs[pk], []).append(pk)
    return groups


def merge(winner: Memory, losers: Sequence[Memory]) -> list[Failure]:
    """Replace memories by the winner. Return those that have to stay."""
    tags = list(dict.fromkeys([*winner.tags, *(tag for loser in losers for tag in loser.tags)]))
    if len(tags) > MAX_TAGS:
        return [Failure(loser.pk, TOO_MANY_TAGS) for loser in losers]
    importance = max(each.importance for each in (winner, *losers))
    rows = Memory.objects.filter(namespace_id=winner.namespace_id)
    if (tags, importance) != (winner.tags, winner.importance):
        rows.filter(pk=winner.pk).update(tags=tags, importance=importance, updated_at=Now())
    rows.filter(pk__in=[loser.pk for loser in losers]).update(
        state=State.SUPERSEDED, superseded_by=winner.pk, updated_at=Now()
    )
    return []
