"""Rows that carry the moment their work is due: one nullable column is the queue, the lease and the back-off."""

from datetime import timedelta

from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Now

from memory_site.deadlocks import surviving_deadlocks

# After this many tries without an answer a row is claimed alone, so that it cannot take its neighbours down with it;
# after the last one it is set aside. The count is committed before the work: a text that kills the process is counted.
TRIES_IN_COMPANY = 2
TRIES = 5
SET_ASIDE = timedelta(days=1)


class DueQuerySet(models.QuerySet):
    """For models with embed_after (null: nothing to do), embed_tries and embed_error."""

    def due(self) -> "DueQuerySet":
        return self.filter(embed_after__lte=Now())

    def waiting(self) -> "DueQuerySet":
        """Everything whose vector is still to come, leased rows included, refused ones not."""
        return self.filter(embed_after__isnull=False, embed_error="")

    def set_aside(self) -> "DueQuerySet":
        return self.filter(embed_after__isnull=False).exclude(embed_error="")

    @surviving_deadlocks
    def claim(self, limit: int, lease: timedelta) -> list:
        """Take up to `limit` due rows; a crashed worker's rows come due again when the lease ends."""
        with transaction.atomic():
            due = self.due().select_for_update(skip_locked=True, of=("self",)).order_by("embed_after")
            rows = list(due.filter(embed_tries__lt=TRIES_IN_COMPANY)[:limit]) or list(due[:1])
            keys = [row.pk for row in rows]
            self.model._base_manager.filter(pk__in=keys).update(
                embed_after=Now() + lease, embed_tries=F("embed_tries") + 1
            )
        return rows

    @surviving_deadlocks
    def give_back(self, *, after: timedelta = timedelta()) -> int:
        """Undo a claim that came to nothing through no fault of the rows."""
        return self.filter(embed_after__isnull=False, embed_tries__gt=0).update(
            embed_after=Now() + after, embed_tries=F("embed_tries") - 1
        )

    @surviving_deadlocks
    def put_off(self, pause: timedelta) -> int:
        """Due again after a pause; the try counts."""
        return self.filter(embed_after__isnull=False).update(embed_after=Now() + pause)

    @surviving_deadlocks
    def put_aside(self, error: str) -> int:
        """Push rows far forward, with the reason."""
        return self.update(embed_after=Now() + SET_ASIDE, embed_error=error[:1000], embed_tries=TRIES_IN_COMPANY)
