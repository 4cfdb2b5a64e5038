"""The queue of vectors still to be made: a narrow row for each memory whose content waits to be embedded."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from memory_site.core.db.retry import retry_on_deadlock

# After this many tries without an answer a row is claimed alone, so that it cannot take its neighbours down with it;
# after the last one it is set aside. The count is committed before the work: a text that kills the process is counted.
MAX_BATCHED_ATTEMPTS = 2
MAX_EMBEDDING_ATTEMPTS = 5
QUARANTINE_PERIOD = timedelta(days=1)


class DueQuerySet(models.QuerySet):
    """Rows with the moment their work is due: `due_at` is queue, lease and back-off in one."""

    def alive(self) -> "DueQuerySet":
        return self.filter(Q(memory__expires_at=None) | Q(memory__expires_at__gt=Now()))

    def due(self) -> "DueQuerySet":
        return self.filter(due_at__lte=Now())

    def waiting(self) -> "DueQuerySet":
        """Everything whose vector is still to come, leased rows included, refused ones not."""
        return self.filter(error="")

    def quarantined(self) -> "DueQuerySet":
        return self.exclude(error="")

    @retry_on_deadlock
    def claim(self, limit: int, characters: int, lease: timedelta) -> list:
        """Take the oldest due rows: `limit` at most, one at least, and otherwise no more text than `characters`. One
        that was tried too often for company is taken alone, when its turn comes.

        A crashed worker's rows come due again when the lease ends.
        """
        with transaction.atomic():
            due = self.due().select_for_update(skip_locked=True, of=("self",)).order_by("due_at")
            rows = take_within_budget(select_batchable(list(due[:limit])), characters)
            claimed = self.model.objects.filter(pk__in=[row.pk for row in rows])
            claimed.update(due_at=Now() + lease, attempts=F("attempts") + 1)
        return rows

    @retry_on_deadlock
    def release(self, *, after: timedelta = timedelta()) -> int:
        """Undo a claim that came to nothing through no fault of the rows."""
        return self.filter(attempts__gt=0).update(due_at=Now() + after, attempts=F("attempts") - 1)

    @retry_on_deadlock
    def postpone(self, pause: timedelta) -> int:
        """Due again after a pause; the try counts."""
        return self.update(due_at=Now() + pause)

    @retry_on_deadlock
    def quarantine(self, error: str) -> int:
        """Push rows far forward, with the reason."""
        return self.update(due_at=Now() + QUARANTINE_PERIOD, error=error[:1000], attempts=MAX_BATCHED_ATTEMPTS)


def select_batchable(rows: Sequence) -> list:
    if rows and rows[0].attempts >= MAX_BATCHED_ATTEMPTS:
        return [rows[0]]
    return [row for row in rows if row.attempts < MAX_BATCHED_ATTEMPTS]


def take_within_budget(rows: Sequence, characters: int) -> list:
    """The first rows that fit; one at least."""
    for position, row in enumerate(rows):
        characters -= row.characters
        if characters < 0 and position:
            return list(rows[:position])
    return list(rows)
