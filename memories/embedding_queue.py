"""The queue of memories to embed: a narrow row for each memory whose content waits."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import models, transaction
from django.db.models import F, Min, Q
from django.db.models.functions import Now

from memory_site.core.db.retry import retry_on_deadlock

# A row with so many failed attempts is claimed alone, so that it cannot fail its neighbours; after the last one it is
# quarantined. Attempts are committed before the work, so a text that kills the process is counted.
MAX_BATCHED_ATTEMPTS = 2
MAX_EMBEDDING_ATTEMPTS = 5
QUARANTINE_PERIOD = timedelta(days=1)


class DueQuerySet(models.QuerySet):
    """Rows of the queue. `due_at` is the order of the queue, the end of a lease and the back-off in one."""

    def alive(self) -> "DueQuerySet":
        return self.filter(Q(memory__expires_at=None) | Q(memory__expires_at__gt=Now()))

    def due(self) -> "DueQuerySet":
        return self.filter(due_at__lte=Now())

    def in_namespace(self, namespace_id: int) -> "DueQuerySet":
        return self.filter(namespace_id=namespace_id)

    def list_waiting(self) -> list[tuple[int, str | None]]:
        """Return (namespace id, its active model) of the namespaces with due rows, the longest waiting first."""
        namespaces = self.due().values_list("namespace_id", "namespace__embedding_model")
        return [(pk, model) for pk, model, _ in namespaces.annotate(oldest=Min("due_at")).order_by("oldest")]

    @retry_on_deadlock
    def claim(
        self, namespace_id: int, limit: int, characters: int, lease: timedelta, *, suspects: bool = True
    ) -> tuple[list, bool]:
        """Claim the oldest due rows of a namespace: at most `limit` rows and `characters` of text, but at least one
        row. A row that reached MAX_BATCHED_ATTEMPTS is claimed alone, or without `suspects` not at all.

        Return the rows, and whether more may be due. Those of a crashed worker are due again when the lease ends.
        """
        with transaction.atomic():
            due = self.in_namespace(namespace_id).due().order_by("due_at")
            candidates = list(due.select_for_update(skip_locked=True, of=("self",))[:limit])
            rows = take_within_budget(select_batchable(candidates, suspects), characters)
            claimed = type(self)(self.model).in_namespace(namespace_id).filter(pk__in=[row.pk for row in rows])
            claimed.update(due_at=Now() + lease, attempts=F("attempts") + 1)
        return rows, len(candidates) == limit or len(rows) < len(candidates)

    @retry_on_deadlock
    def release(self, *, after: timedelta = timedelta()) -> int:
        """Undo a claim after an outage: the attempt does not count. Return how many rows were claimed."""
        return self.filter(attempts__gt=0).update(due_at=Now() + after, attempts=F("attempts") - 1)

    @retry_on_deadlock
    def postpone(self, pause: timedelta) -> int:
        """Make rows due again after a pause; the attempt counts."""
        return self.update(due_at=Now() + pause)

    @retry_on_deadlock
    def quarantine(self, error: str) -> int:
        """Postpone rows by QUARANTINE_PERIOD, with the reason."""
        return self.update(due_at=Now() + QUARANTINE_PERIOD, error=error[:1000], attempts=MAX_BATCHED_ATTEMPTS)


def select_batchable(rows: Sequence, suspects: bool = True) -> list:
    """Return the first row alone if it may not be in a batch, else all rows that may. Without `suspects` only those."""
    if suspects and rows and rows[0].attempts >= MAX_BATCHED_ATTEMPTS:
        return [rows[0]]
    return [row for row in rows if row.attempts < MAX_BATCHED_ATTEMPTS]


def take_within_budget(rows: Sequence, characters: int) -> list:
    """Return the first rows whose texts fit, but at least one."""
    for position, row in enumerate(rows):
        characters -= row.characters
        if characters < 0 and position:
            return list(rows[:position])
    return list(rows)
