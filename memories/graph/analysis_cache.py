"""The analyses of graphs, computed when they are requested and cached until the graph changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock
from time import monotonic

from django.conf import settings
from django.db import connection

from memories.graph.analysis import AnalysisResult, GraphState, build_analysis, fetch_connections, fetch_state
from memory_site.core.caches import Cache
from memory_site.core.errors import Busy
from memory_site.core.http.overload import step_aside

MAX_CACHED_ANALYSES = 100
#: With more relationships than this, the result for a graph that has changed is served until it is so many seconds old.
LARGE_GRAPH_RELATIONSHIPS, LARGE_GRAPH_CACHE_SECONDS = 2_000, 10
BUSY_MESSAGE = "Too many graphs are being analysed. Ask again in a few seconds."
#: One analysis at a time in a process: it is CPU-bound Python, which a second thread would only slow down.
COMPUTATION = Lock()
MAX_WAIT_SECONDS = 5
#: Requests that may compute or wait for it: each occupies a thread.
WAITING_SLOTS = BoundedSemaphore(settings.WEB_PLACES)


@dataclass(frozen=True)
class CachedAnalysis:
    """`read_at` is a moment before the graph was read, in seconds of the monotonic clock; `server` is where."""

    state: GraphState
    result: AnalysisResult
    read_at: float
    server: str


#: Namespace id and user id.
GraphOwner = tuple[int, str]
analysis_cache: Cache[GraphOwner, CachedAnalysis] = Cache(MAX_CACHED_ANALYSES)


def get_analysis(namespace_id: int, user_id: str) -> AnalysisResult:
    """Return the analysis of the graph as it is now; that of a large graph may be LARGE_GRAPH_CACHE_SECONDS old.

    Raises NotFound for a user without memories, Conflict when the graph is too large, and Busy when other analyses take
    too long. Outside a transaction the thread holds no database connection while it waits or computes.
    """
    owner = namespace_id, user_id
    state = fetch_state(*owner)
    return find_cached(owner, state) or compute_once(owner)


def find_cached(owner: GraphOwner, state: GraphState) -> AnalysisResult | None:
    if (cached := analysis_cache.get(owner)) is None:
        return None
    is_large = state.relationships > LARGE_GRAPH_RELATIONSHIPS
    is_recent = monotonic() - cached.read_at < LARGE_GRAPH_CACHE_SECONDS and cached.server == connection.alias
    return cached.result if (is_large and is_recent) or cached.state == state else None


def compute_once(owner: GraphOwner) -> AnalysisResult:
    """Compute the analysis, unless another thread has done so while this one waited."""
    with wait_for_turn():
        read_at, state = monotonic(), fetch_state(*owner)
        if cached := find_cached(owner, state):
            return cached
        connections = fetch_connections(*owner)
        release_connection()
        result = build_analysis(state, connections)
        analysis_cache.set(owner, CachedAnalysis(state, result, read_at, connection.alias))
        return result


@contextmanager
def wait_for_turn() -> Iterator[None]:
    """Hold COMPUTATION inside the block. Raises Busy after MAX_WAIT_SECONDS, and at once when too many threads wait."""
    if not WAITING_SLOTS.acquire(blocking=False):
        raise Busy(BUSY_MESSAGE)
    try:
        release_connection()
        with step_aside():
            acquired = COMPUTATION.acquire(timeout=MAX_WAIT_SECONDS)
        if not acquired:
            raise Busy(BUSY_MESSAGE)
        try:
            yield
        finally:
            COMPUTATION.release()
    finally:
        WAITING_SLOTS.release()


def release_connection() -> None:
    """Return the connection to the pool. Inside a transaction that would lose the transaction."""
    if not connection.in_atomic_block:
        connection.close()
