"""What an action is: a class that changes the memories of one batch, inside the batch's transaction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

from django.db import IntegrityError, transaction

from memories.conflicts import explain_duplicate
from memories.jobs.models import Job
from memories.models import Memory, MemoryQuerySet
from memories.search.selection import Selection
from memory_site.core.http.fields import InputSchema

#: Why a memory was left, by the constraint that would be broken.
REASONS = {
    "insight_is_kept_once": "Another insight says the same.",
    "memory_tags_are_bounded": "It would have more than 256 tags.",
    "memory_with_a_key_is_no_entity": "It describes an entity, which has no key.",
}
RELATED_REASON = "It has relationships, and those join memories of one user."
CHUNK_REASON = "It is a chunk of a document, which keeps its chunks."


class NoParameters(InputSchema):
    """An action that needs to know nothing but its memories."""


@dataclass(frozen=True)
class Failure:
    """A memory that was left as it was, and why."""

    id: UUID
    reason: str


@dataclass
class Outcome:
    """What became of a batch: how many memories were changed (or were as wanted already), and which were left."""

    done: int = 0
    failures: list[Failure] = field(default_factory=list)

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.done + other.done, self.failures + other.failures)


@dataclass(frozen=True)
class Batch:
    """The memories of one transaction, locked by it, in the order of their ids."""

    job: Job
    ids: Sequence[UUID]
    parameters: Any

    @property
    def namespace_id(self) -> int:
        return self.job.namespace_id

    def memories(self, ids: Iterable[UUID] | None = None) -> MemoryQuerySet:
        """Return these memories, or those of them with the ids."""
        wanted = self.ids if ids is None else list(ids)
        return Memory.objects.filter(namespace_id=self.namespace_id, pk__in=wanted)


class Action:
    """Base class. An action has no state: what one run knows is in the job's row and in its parameters."""

    name: ClassVar[str]
    #: As on a button: "Set importance".
    title: ClassVar[str]
    icon: ClassVar[str] = "bolt"
    #: The permission that a console user needs.
    permission: ClassVar[str] = "memories.change_memory"
    parameters: ClassVar[type[InputSchema]] = NoParameters
    #: Whether memories are gone afterwards, so that a person types a name first and an API client names a condition.
    is_destructive: ClassVar[bool] = False
    #: Whether the history of the memories can take it back.
    can_undo: ClassVar[bool] = True
    #: Whether it changes memories, so that those of a batch are locked.
    changes: ClassVar[bool] = True
    #: Whether a key, which opens one namespace, may ask for it.
    in_api: ClassVar[bool] = True
    #: Whether the console's list offers it.
    in_menu: ClassVar[bool] = True

    def describe(self, parameters: Any, memories: str) -> str:
        """Return what it does, as a sentence without its end. `memories` is how many, in words: "12 memories"."""
        return f"{self.title}: {memories}"

    def check(self, namespace_id: int, parameters: Any) -> None:
        """Raise InvalidField for parameters that are wrong in this namespace."""

    def warn(self, namespace_id: int, memories: MemoryQuerySet) -> list[str]:
        """Return what a person should know before it begins, as sentences."""
        return []

    def start(self, job: Job, parameters: Any) -> None:
        """Prepare a run, outside of any batch. Called again when another worker continues the job."""

    def lock_next(self, job: Job, size: int) -> list[UUID]:
        """Return the ids of the next memories after the job's cursor, at most `size`, locked if they are changed.
        None: the end."""
        rows = Selection.load(job.selection).in_namespace(job.namespace_id).queryset()
        rows = rows.filter(pk__gt=job.cursor) if job.cursor else rows
        rows = rows.filter(pk__lte=job.last_id) if job.last_id else rows.none()
        rows = rows.select_for_update(of=("self",)) if self.changes else rows
        return list(rows.order_by("pk").values_list("pk", flat=True)[:size])

    def apply(self, batch: Batch) -> Outcome:
        """Change the memories of one batch. The transaction is the caller's."""
        raise NotImplementedError

    def finish(self, job: Job, parameters: Any) -> dict[str, Any]:
        """End the job, in the transaction that sets its state. Return its result."""
        return {}

    def follow_up(self, job: Job) -> None:
        """Do what may come after the last batch, when its transaction is over."""

    def find_kept(self, job: Job, ids: Sequence[UUID]) -> list[Failure]:
        """Return which memories of an undo have to stay, for what the history of this namespace does not know."""
        return []

    def clear_after_undo(self, job: Job, ids: Sequence[UUID]) -> None:
        """Clear up after memories that are back, what the history of this namespace does not know of."""


def apply_by_halves(ids: Sequence[UUID], work: Callable[[Sequence[UUID]], object]) -> Outcome:
    """Do the work for all ids in one statement. What a constraint refuses is divided, until only the memories that
    break it are left."""
    if not ids:
        return Outcome()
    try:
        with transaction.atomic():
            work(ids)
        return Outcome(len(ids))
    except IntegrityError as error:
        if len(ids) == 1:
            return Outcome(0, [Failure(ids[0], explain_refusal(error))])
    middle = len(ids) // 2
    return apply_by_halves(ids[:middle], work) + apply_by_halves(ids[middle:], work)


def explain_refusal(error: IntegrityError) -> str:
    """Return the reason in words, without any value of the row."""
    if duplicate := explain_duplicate(error):
        return duplicate
    diagnosis = getattr(error.__cause__, "diag", None)
    table, constraint = getattr(diagnosis, "table_name", None) or "", getattr(diagnosis, "constraint_name", None) or ""
    if table.startswith("graph_"):
        return RELATED_REASON
    found = next((reason for name, reason in REASONS.items() if name in constraint), None)
    return found or f"The database refuses the change ({constraint or 'a constraint'})."


def leave(ids: Iterable[UUID], reason: str) -> Outcome:
    return Outcome(0, [Failure(pk, reason) for pk in ids])
