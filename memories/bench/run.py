"""Run a setting with the time of each stage, and compare two outcomes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db import OperationalError
from psycopg.errors import QueryCanceled

from memories.bench.explain import ExplainedHit, build_ranking, keep_all
from memories.bench.setting import Setting
from memories.embeddings import EmbeddingError
from memories.search.execute import elapsed_ms, find_memories
from memories.search.floor import build_floor
from memories.search.query import Search
from memories.search.query_embedding import resolve_search_vector
from memory_site.core.db.timeouts import limit_statements
from sessions_app.models import Namespace

TIMEOUT_SECONDS = 10
#: Candidates below the floor that an outcome shows, of so many looked at.
MAX_LEFT_OUT, MAX_LOOKED_AT = 5, 50
TOO_SLOW = f"The search took longer than {TIMEOUT_SECONDS} s and was stopped."


class SearchFailed(Exception):
    """A search that cannot be run; its text is for the reader."""


@dataclass
class Outcome:
    """What a setting finds. `timings` are the milliseconds of each stage, `left_out` the best hits below the floor."""

    setting: Setting
    search: Search
    hits: list[ExplainedHit]
    left_out: list[ExplainedHit]
    timings: dict[str, float]
    degraded: bool
    floor: float
    scope: dict[str, Any] = field(default_factory=dict)

    @property
    def ids(self) -> list[UUID]:
        return [hit.memory["id"] for hit in self.hits]

    @property
    def explained(self) -> list[tuple[ExplainedHit, str]]:
        """The hits with a sentence each."""
        above = [None, *self.hits]
        return [(hit, hit.explain(before)) for hit, before in zip(self.hits, above, strict=False)]


@contextmanager
def bounded_statements(seconds: float | None = None) -> Iterator[None]:
    """Stop each statement after so long or TIMEOUT_SECONDS, in a transaction of its own. Raises SearchFailed."""
    try:
        with limit_statements(TIMEOUT_SECONDS if seconds is None else seconds):
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise SearchFailed(TOO_SLOW) from error
        raise


def run_setting(namespace: Namespace, setting: Setting) -> Outcome:
    """Search as the namespace. Counts no access and no use. Raises SearchFailed."""
    model = namespace.embedding_model
    timings: dict[str, float] = {}
    with timed(timings, "embed the query"):
        try:
            vector, degraded = resolve_search_vector(setting, model)
        except EmbeddingError as error:
            raise SearchFailed(f"The query cannot be embedded: {error}") from error
    with timed(timings, "embed the floor’s nonsense"):
        floor = build_floor(setting.floor, setting.query, model, by_meaning=vector is not None)
    query = None if setting.mode == "vector" else setting.query
    ranking = build_ranking(setting, floor, by_meaning=vector is not None)
    search = Search(query, vector, model, setting.limit, setting.threshold, ranking)
    with timed(timings, "search in PostgreSQL"), bounded_statements():
        hits = find(namespace, setting, search)
    left_out = find_left_out(namespace, setting, search) if floor.level else []
    scope = hits[0].hit["explain"] if hits else {}
    return Outcome(setting, search, hits, left_out, timings, degraded, floor.level or 0, scope)


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    timings[stage] = elapsed_ms(started)


def find(namespace: Namespace, setting: Setting, search: Search) -> list[ExplainedHit]:
    hits = find_memories(namespace.pk, setting.filters, search, explain=True, counts_as_use=False)
    return [ExplainedHit(place, hit) for place, hit in enumerate(hits, 1)]


def find_left_out(namespace: Namespace, setting: Setting, search: Search) -> list[ExplainedHit]:
    """Return the best hits that only the floor keeps out."""
    everything = replace(search, ranking=keep_all(search.ranking), limit=MAX_LOOKED_AT)
    with bounded_statements():
        hits = find(namespace, setting, everything)
    return [hit for hit in hits if not hit.hit["is_above_floor"]][:MAX_LEFT_OUT]


@dataclass(frozen=True)
class Move:
    """A memory in two outcomes: its places, None where it is not found."""

    memory: dict[str, Any]
    before: ExplainedHit | None
    after: ExplainedHit | None

    @property
    def change(self) -> str:
        if self.before is None:
            return "new"
        if self.after is None:
            return "gone"
        up = self.before.place - self.after.place
        return f"{abs(up)} up" if up > 0 else f"{abs(up)} down" if up < 0 else "same place"


def compare(first: Outcome, second: Outcome) -> list[Move]:
    """Return every memory of either outcome: those of the second in its order, then what it has lost."""
    before, after = ({hit.memory["id"]: hit for hit in each.hits} for each in (first, second))
    moves = [Move(hit.memory, before.get(pk), hit) for pk, hit in after.items()]
    return moves + [Move(hit.memory, hit, None) for pk, hit in before.items() if pk not in after]
