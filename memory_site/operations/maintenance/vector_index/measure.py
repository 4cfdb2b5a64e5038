"""Measures recall and time of searches by the index, with stored vectors as queries and the exact answer as truth.

Each query searches its own namespace: everything in it, what its user has, and what is of its type.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import mean, median

from django.db import OperationalError, transaction
from psycopg.errors import LockNotAvailable
from pydantic_core import from_json

from memories.memory_types import MemoryType
from memories.search.execute import find_nearest_ids
from memories.search.filters import Filters
from memories.search.recall import compute_share
from memories.vacuum import INDEX
from memory_site.operations.maintenance.findings import execute, fetch

LIMIT = 10
#: Searches and writes of others wait while the index is hidden: so long at most, then so long not.
SLICE_SECONDS, PAUSE_SECONDS = 0.5, 0.5
#: How long each attempt to hide the index waits, and others behind it; and when to give up.
LOCK_WAIT_MS, MAX_LOCK_SECONDS = 250, 60
# Of whole pages; some hold vectors of models that are no longer used.
SAMPLE_FACTOR, MIN_SAMPLED_ROWS = 3, 2_000

SELECT_QUERIES_SQL = """
SELECT namespace_id, user_id, memory_type, model, vector::text
FROM memories_embedding TABLESAMPLE SYSTEM (%(percent)s)
JOIN sessions_app_namespace ON sessions_app_namespace.id = namespace_id AND embedding_model = model
WHERE expires_at IS NULL OR expires_at > now()
ORDER BY random() LIMIT %(limit)s
"""


class TableBusy(Exception):
    """The table of vectors is in use by a long transaction."""


@dataclass(frozen=True)
class Query:
    """A search: a stored vector, and the filters that it goes under. `kind` names these."""

    kind: str
    namespace_id: int
    filters: Filters
    vector: list[float]
    model: str
    exact: list[float]


@dataclass(frozen=True)
class Recall:
    """Of the searches of one kind: mean and least recall, 0 to 1, and the median milliseconds of one."""

    kind: str
    searches: int
    mean: float
    minimum: float
    milliseconds: float


def sample_queries(vectors: int, count: int) -> Iterator[Query]:
    """Yield the searches of `count` stored vectors, after finding the exact answer to each."""
    percent = min(100.0, 100 * max(SAMPLE_FACTOR * count, MIN_SAMPLED_ROWS) / max(vectors, 1))
    for namespace_id, user_id, memory_type, model, text in fetch(SELECT_QUERIES_SQL, percent=percent, limit=count):
        vector = from_json(text)
        kinds = {"none": Filters(), "type": Filters(memory_types=[MemoryType(memory_type)])}
        if user_id:
            kinds["user"] = Filters(user_id=user_id)
        for kind, filters in kinds.items():
            exact = find_nearest_ids(namespace_id, filters, vector, model, LIMIT, exact=True)
            yield Query(kind, namespace_id, filters, vector, model, list(exact.values()))


def measure_recall(queries: list[Query], ef_search: int, *, hidden: bool = False) -> list[Recall]:
    """Return the recall of each kind of search. `hidden`: searches use what is there besides the index.

    Raises TableBusy.
    """
    left, found = deque(queries), []
    while left:
        with hide_index(ef_search) if hidden else set_ef_search(ef_search):
            until = time.monotonic() + SLICE_SECONDS
            while left and not (hidden and time.monotonic() > until):
                found.append(search(left.popleft()))
        if hidden and left:
            time.sleep(PAUSE_SECONDS)
    kinds = dict.fromkeys(kind for kind, _, _ in found)
    return [summarize(kind, [each[1:] for each in found if each[0] == kind]) for kind in kinds]


def search(query: Query) -> tuple[str, float, float]:
    """Return kind, recall and milliseconds of a search."""
    started = time.perf_counter()
    found = find_nearest_ids(query.namespace_id, query.filters, query.vector, query.model, LIMIT, exact=False)
    milliseconds = (time.perf_counter() - started) * 1000
    return query.kind, compute_share(found.values(), query.exact), milliseconds


def summarize(kind: str, figures: list[tuple[float, ...]]) -> Recall:
    shares, times = zip(*figures, strict=True)
    return Recall(kind, len(figures), round(mean(shares), 4), min(shares), round(median(times), 1))


@contextmanager
def set_ef_search(ef_search: int) -> Iterator[None]:
    """Search with this value inside the block."""
    with transaction.atomic():
        execute(f"SET LOCAL hnsw.ef_search = {ef_search:d}")
        yield


@contextmanager
def hide_index(ef_search: int) -> Iterator[None]:
    """Search without the index inside the block: it is dropped, and the transaction rolled back. The planner would
    choose one of two by itself. Raises TableBusy."""
    with transaction.atomic():
        retry_until_locked(lambda: execute(f"DROP INDEX {INDEX}"))
        execute(f"SET LOCAL hnsw.ef_search = {ef_search:d}")
        yield
        transaction.set_rollback(True)


def retry_until_locked(change: Callable[[], object]) -> None:
    """Change what needs the table for itself, in short attempts, so that no other session waits long behind a
    lock that is waited for. In a transaction. Raises TableBusy."""
    deadline = time.monotonic() + MAX_LOCK_SECONDS
    while True:
        try:
            with transaction.atomic():
                execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
                change()
                return
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
        if time.monotonic() > deadline:
            raise TableBusy(f"{TableBusy.__doc__} Run it again when that has ended: what is built stays.")
        time.sleep(LOCK_WAIT_MS / 1000)
