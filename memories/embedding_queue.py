"""The queue of memories to embed: a narrow row for each memory whose content waits."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Min
from django.db.models.functions import Now

from memories.states import not_expired
from memory_site.core.db.retry import retry_on_deadlock

# A row with so many failed attempts is claimed alone, so that it cannot fail its neighbours; after the last one it is
# quarantined. Attempts are committed before the work, so a text that kills the process is counted.
MAX_BATCHED_ATTEMPTS = 2
MAX_EMBEDDING_ATTEMPTS = 5
QUARANTINE_PERIOD = timedelta(days=1)

# One statement, because a thousand namespaces with a few texts each are claimed from one by one.
CLAIM_SQL = """
WITH candidates AS MATERIALIZED (
    SELECT due.memory_id, due.attempts, due.characters, due.due_at
    FROM memories_dueembedding due
    JOIN memories_memory memory ON memory.namespace_id = %(namespace)s AND memory.id = due.memory_id
    WHERE due.namespace_id = %(namespace)s AND due.due_at <= statement_timestamp()
      AND (memory.expires_at IS NULL OR memory.expires_at > statement_timestamp())
      AND (%(memories)s::uuid[] IS NULL OR due.memory_id = ANY(%(memories)s::uuid[]))
    ORDER BY due.due_at LIMIT %(limit)s FOR UPDATE OF due SKIP LOCKED
),
numbered AS (SELECT *, row_number() OVER (ORDER BY due_at, memory_id) AS place FROM candidates),
eligible AS (
    SELECT memory_id, place, sum(characters) OVER (ORDER BY place) AS total FROM numbered
    WHERE CASE WHEN %(suspects)s AND (SELECT attempts FROM numbered WHERE place = 1) >= %(suspected)s THEN place = 1
               ELSE attempts < %(suspected)s END
),
claimed AS (
    UPDATE memories_dueembedding due
    SET due_at = statement_timestamp() + %(lease)s, attempts = due.attempts + 1
    FROM eligible
    WHERE due.namespace_id = %(namespace)s AND due.memory_id = eligible.memory_id
      AND (eligible.total <= %(characters)s OR eligible.place = (SELECT min(place) FROM eligible))
    RETURNING due.memory_id, due.attempts - 1 AS attempts, eligible.place
)
SELECT memory.id, memory.content, memory.content_hash, namespace.embedding_model, claimed.attempts,
       (SELECT count(*) FROM candidates)
FROM claimed
JOIN memories_memory memory ON memory.namespace_id = %(namespace)s AND memory.id = claimed.memory_id
JOIN sessions_app_namespace namespace ON namespace.id = %(namespace)s
ORDER BY claimed.place
"""


class ClaimedText(NamedTuple):
    """The content of a claimed memory, its namespace's active model, and its attempts before this one."""

    namespace_id: int
    pk: UUID
    content: str
    content_hash: bytes
    model: str | None
    attempts: int


class DueQuerySet(models.QuerySet):
    """Rows of the queue. `due_at` is the order of the queue, the end of a lease and the back-off in one."""

    def alive(self) -> "DueQuerySet":
        return self.filter(not_expired("memory__"))

    def due(self) -> "DueQuerySet":
        return self.filter(due_at__lte=Now())

    def claimed(self) -> "DueQuerySet":
        """Keep those that a worker embeds now, or tries again in a moment."""
        return self.filter(
            attempts__gt=0, due_at__gt=Now(), due_at__lte=Now() + timedelta(seconds=settings.EMBEDDING_LEASE)
        )

    def in_namespace(self, namespace_id: int) -> "DueQuerySet":
        return self.filter(namespace_id=namespace_id)

    def list_waiting(self) -> list[tuple[int, str | None]]:
        """Return (namespace id, its active model) of the namespaces with due rows, the longest waiting first."""
        namespaces = self.due().values_list("namespace_id", "namespace__embedding_model")
        return [(pk, model) for pk, model, _ in namespaces.annotate(oldest=Min("due_at")).order_by("oldest")]

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


@retry_on_deadlock
def claim_texts(
    namespace_id: int,
    limit: int,
    characters: int,
    lease: timedelta,
    *,
    suspects: bool = True,
    memory_ids: Sequence[UUID] | None = None,
) -> tuple[list[ClaimedText], bool]:
    """Claim the oldest due texts of a namespace, or of these memories: at most `limit` rows and `characters`, but at
    least one row. A row that reached MAX_BATCHED_ATTEMPTS is claimed alone, or without `suspects` not at all.

    Return them, and whether more may be due. Those of a crashed worker are due again when the lease ends.
    """
    parameters: dict[str, Any] = {
        "namespace": namespace_id,
        "memories": None if memory_ids is None else list(memory_ids),
        "limit": limit,
        "characters": characters,
    }
    parameters |= {"lease": lease, "suspects": suspects, "suspected": MAX_BATCHED_ATTEMPTS}
    with connection.cursor() as cursor:
        cursor.execute(CLAIM_SQL, parameters)
        rows = cursor.fetchall()
    candidates = rows[0][-1] if rows else 0
    return [ClaimedText(namespace_id, *row[:-1]) for row in rows], candidates == limit or len(rows) < candidates


def take_within_budget(rows: Sequence, characters: int) -> list:
    """Return the first rows whose texts fit, but at least one."""
    for position, row in enumerate(rows):
        characters -= row.characters
        if characters < 0 and position:
            return list(rows[:position])
    return list(rows)
