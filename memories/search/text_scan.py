"""Look for what no index finds in the newest memories first, for at most a given time, and report how far it came.

There is no index for parts of words, for patterns and for some filters: each would make every store slower. So a
million rows are not read within a request; a scan reads chunks of rows until it has enough, or its time is over.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from django.db import OperationalError, connections
from django.db.models import BooleanField, ExpressionWrapper, Q
from psycopg.errors import QueryCanceled

from memories.models import Memory, MemoryQuerySet
from memories.search.query import Search
from memories.search.selection import LITERAL, Selection, build_text_condition, with_json_as_text
from memory_site.core.db.timeouts import limit_statements

MAX_SCAN_HITS = 1_000
SCAN_SECONDS, COUNT_SECONDS = 0.5, 0.3
#: Rows of the first chunk; the next are as large as their rate allows in CHUNK_SECONDS.
FIRST_CHUNK_ROWS, MAX_CHUNK_ROWS, CHUNK_SECONDS = 2_000, 100_000, 0.15
#: At least for one chunk, so that a busy server answers the first one at all.
MIN_CHUNK_SECONDS = 0.05
#: Hits of the words of a text that are added when a scan stopped before its end.
MAX_WORD_HITS = 100
CHUNK_SQL = """
WITH chunk (namespace_id, id, created_at, matched) AS MATERIALIZED ({rows})
SELECT namespace_id, id, created_at, matched, (SELECT count(*) FROM chunk)
FROM chunk WHERE matched OR id = (SELECT id FROM chunk ORDER BY created_at, id LIMIT 1)
ORDER BY created_at DESC, id DESC
"""


@dataclass(frozen=True)
class Place:
    """A place in the list, newest first: behind this memory."""

    created_at: datetime
    id: UUID


@dataclass
class Scan:
    """hits: (namespace_id, id), newest first. reached: the last row that was looked at, if there was one.

    is_complete: whether every row was. timed_out: whether one statement alone took all the time, as a pattern can.
    """

    hits: list[tuple[int, UUID]] = field(default_factory=list)
    is_full: bool = False
    reached: Place | None = None
    rows_read: int = 0
    is_complete: bool = False
    timed_out: bool = False

    def find_hits(self, memories: MemoryQuerySet) -> MemoryQuerySet:
        """Return those of the memories that are hits."""
        namespaces = {namespace_id for namespace_id, _ in self.hits}
        return memories.filter(namespace_id__in=namespaces, pk__in=[pk for _, pk in self.hits])


def count_in_time(rows: MemoryQuerySet, most: int) -> int | None:
    """Return the number of rows up to `most`, or None if counting takes longer than COUNT_SECONDS."""
    try:
        with limit_statements(COUNT_SECONDS, rows.db):
            return rows.order_by().values("pk")[:most].count()
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        return None


def scan_memories(selection: Selection, *, after: Place | None = None) -> Scan:
    """Scan the memories that indexes find for the rest of the selection, from the newest, or behind a place.

    A literal whose words are indexed is found there too when the scan stops before its end.
    """
    scan = Scan(reached=after)
    fast, slow = selection.filters.split()
    rows = with_json_as_text(replace(selection, filters=fast).narrow_without_text(Memory.objects.alive()))
    text = build_text_condition(selection.text, selection.mode) if selection.text else Q()
    try:
        scan_chunks(scan, rows, slow.conditions() & text, time.monotonic() + SCAN_SECONDS)
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        scan.timed_out = not scan.rows_read
    if selection.text and selection.mode == LITERAL and not (scan.is_complete or scan.is_full):
        add_hits_of_words(scan, selection)
    return scan


def scan_chunks(scan: Scan, rows: MemoryQuerySet, condition: Q, deadline: float) -> None:
    size = FIRST_CHUNK_ROWS
    matched = ExpressionWrapper(condition, output_field=BooleanField())
    rows = rows.annotate(matched=matched).newest_first()
    while not (scan.is_complete or scan.is_full):
        started = time.monotonic()
        if scan.rows_read and started > deadline:
            return
        left = max(deadline - started, MIN_CHUNK_SECONDS)
        found = fetch_chunk(rows if scan.reached is None else filter_behind(rows, scan.reached), size, left)
        read = found[0][-1] if found else 0
        scan.rows_read += read
        hits = [row for row in found if row[3]][: MAX_SCAN_HITS - len(scan.hits)]
        scan.hits += [row[:2] for row in hits]
        scan.is_full = len(scan.hits) == MAX_SCAN_HITS
        scan.is_complete = read < size and not scan.is_full
        last = hits[-1] if scan.is_full else found[-1] if found else None
        scan.reached = Place(last[2], last[1]) if last else scan.reached
        rate = read / max(time.monotonic() - started, 0.001)
        size = min(max(int(rate * CHUNK_SECONDS), FIRST_CHUNK_ROWS), MAX_CHUNK_ROWS)


def filter_behind(rows: MemoryQuerySet, place: Place) -> MemoryQuerySet:
    older = Q(created_at__lt=place.created_at) | Q(id__lt=place.id)
    return rows.filter(older, created_at__lte=place.created_at)


def fetch_chunk(rows: MemoryQuerySet, size: int, seconds: float) -> list[tuple]:
    """Return (namespace_id, id, created_at, matched, rows read) of the hits of a chunk, and of its last row."""
    columns = rows.values_list("namespace_id", "pk", "created_at", "matched")
    sql, parameters = columns[:size].query.sql_with_params()
    return fetch_limited(CHUNK_SQL.format(rows=sql), parameters, rows.db, seconds)


def fetch_limited(sql: str, parameters: Sequence, using: str, seconds: float) -> list[tuple]:
    with limit_statements(seconds, using), connections[using].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def add_hits_of_words(scan: Scan, selection: Selection) -> None:
    """Add older memories that the index of words knows: of a text that consists of whole words, all that matters."""
    # Here, because the search needs the embedder's settings, which a worker of jobs does not.
    from memories.search.execute import find_memories  # noqa: PLC0415

    search = Search(selection.text, None, None, MAX_WORD_HITS)
    ids = [hit["memory"]["id"] for hit in find_memories(selection.namespace_id, selection.search_filters, search)]
    known = {pk for _, pk in scan.hits}
    older = selection.narrow(Memory.objects.alive()).filter(pk__in=[pk for pk in ids if pk not in known])
    scan.hits += list(older.newest_first().values_list("namespace_id", "pk"))
