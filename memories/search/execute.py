"""Run a search: compile the scope, execute the statement, convert its rows into hits."""

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from uuid import UUID

from memories.embeddings import get_embedder
from memories.models import Embedding, Memory
from memories.schemas import OUT_COLUMNS, qualify_out_columns, to_memory_out
from memories.search.filters import Filters
from memories.search.floor import build_floor
from memories.search.query import (
    EXTRA_COLUMN_COUNT,
    NEAREST_COUNT_INDEX,
    PLAIN_RANKING,
    SEARCHED_NAMESPACE_SQL,
    UNGROUPED_COUNT_INDEX,
    Ranking,
    Scope,
    Search,
)
from memories.search.query_embedding import SearchRequest, resolve_search_vector
from memories.search.scope_size import ScopeSize, scope_sizes
from memories.search.statement import build_statement
from memories.seen import seen_memories
from memories.storage import row_to_dict
from memory_site.core.db.prepared import fetch_rows
from memory_site.core.metrics.counters import count_failed_search, count_search

HIT_COLUMNS = qualify_out_columns("memory", SEARCHED_NAMESPACE_SQL.format("memory"))


def find_memories(
    namespace_id: int | None,
    filters: Filters | None,
    search: Search,
    *,
    explain: bool = False,
    counts_as_use: bool = True,
) -> list[dict]:
    """Return HitOut dictionaries, best first. One statement, and a second one only when the first found too few.

    `namespace_id` None searches every namespace: for the admin, never for API callers. `counts_as_use`: whether
    forgetting takes the hits for used.
    """
    scope = build_scope(namespace_id, filters, search.model or get_embedder().model)
    key = (scope.memories[0], repr(scope.memories[1]), search.words and replace(search.words, text=""))
    size = scope_sizes.get(key)
    rows = execute(scope, search, size)
    if size is None:
        scope_sizes.set(key, size := ScopeSize(*rows[0][-2:]))
    # There may be more hits when the index returned too few vectors, or when duplicates filled all candidates: then the
    # scope is scanned.
    index_fell_short = search.vector is not None and not size.few and rows[0][NEAREST_COUNT_INDEX] < search.depth
    too_few_distinct = search.ranking.distinct_on is not None and len(rows) < search.limit
    if index_fell_short:
        scope_sizes.discard(key)
    if index_fell_short or (too_few_distinct and rows[0][UNGROUPED_COUNT_INDEX] >= search.depth):
        rows = execute(scope, replace(search, deep=too_few_distinct), size, exact=True)
    hits = [to_hit(row, search.ranking.columns, explain) for row in rows if row[0] is not None]
    if counts_as_use:
        seen_memories.add(namespace_id, hits)
    return hits


class TimedSearch:
    """The search that a request asks for, timed from the moment this is made.

    Making it embeds the query, and the nonsense that a floor compares with; `find` runs the statement. So a caller
    can open its transaction in between, and no transaction waits for the embedder. Raises EmbeddingError in mode
    "vector" without an embedder.
    """

    def __init__(self, payload: SearchRequest, model: str | None) -> None:
        self.started = time.perf_counter()
        self.payload, self.model = payload, model
        with count_failed_search(payload.mode):
            self.vector, self.degraded = resolve_search_vector(payload, model)
        self.floor = build_floor(payload.floor, payload.query, model, by_meaning=self.vector is not None)

    def find(
        self,
        namespace_id: int,
        filters: Filters | None,
        *,
        threshold: float | None = None,
        ranking: Ranking = PLAIN_RANKING,
        explain: bool = False,
        operators: bool = False,
    ) -> list[dict[str, Any]]:
        """Return HitOut dictionaries, best first. `operators`: the query may require phrases and exclude words."""
        query = None if self.payload.mode == "vector" else self.payload.query
        ranking = self.floor.apply(ranking, by_words=query is not None)
        search = Search(query, self.vector, self.model, self.payload.limit, threshold, ranking, operators=operators)
        with count_failed_search(self.payload.mode):
            hits = find_memories(namespace_id, filters, search, explain=explain)
        count_search(self.payload.mode, len(hits), degraded=self.degraded)
        return hits

    def report(self) -> dict[str, Any]:
        """Return what an answer says of the search itself."""
        return {"degraded": self.degraded, "floor": self.floor.level, "took_ms": elapsed_ms(self.started)}


def elapsed_ms(started: float) -> float:
    """Return the milliseconds since a reading of `time.perf_counter`, to a hundredth."""
    return round((time.perf_counter() - started) * 1000, 2)


def build_scope(namespace_id: int | None, filters: Filters | None, model: str) -> Scope:
    """Return the rows that a search may see: of the namespace, alive, and matching the filters."""
    filters_json = filters and filters.model_dump_json(exclude_none=True)
    # mypy: a class of pydantic models is hashable, though its instances are not.
    return compile_scope(namespace_id, type(filters), filters_json, model)  # type: ignore[arg-type]


# Cached because compiling costs half a millisecond. The statement holds no time of compilation: SQL reads the clock.
@lru_cache(maxsize=1_000)
def compile_scope(namespace_id: int | None, kind: type[Filters], filters_json: str | None, model: str) -> Scope:
    filters = kind.model_validate_json(filters_json) if filters_json else None
    memories, vectors = (
        Memory.objects.alive(filters.states if filters else None),
        Embedding.objects.of_model(model).alive(),
    )
    if namespace_id is not None:
        memories, vectors = memories.filter(namespace_id=namespace_id), vectors.filter(namespace_id=namespace_id)
    labels = filters and filters.labels()
    return Scope(
        namespace_id=namespace_id,
        memories=compile_query(memories.matching(filters).values_list("pk", "search_vector", "content")),
        vectors=compile_query(vectors.matching(labels).values_list("memory_id", "vector")),
        complete=filters == labels,
        model=model,
    )


def find_nearest_ids(
    namespace_id: int, filters: Filters | None, vector: list[float], model: str, limit: int, *, exact: bool
) -> dict[UUID, float]:
    """Return the similarities of the nearest memories by id, from the exact scan or from the index."""
    search = Search(None, vector, model, limit)
    rows = execute(build_scope(namespace_id, filters, model), search, ScopeSize(0, few=False), exact=exact)
    return {row[0]: row[-EXTRA_COLUMN_COUNT + 1] for row in rows if row[0] is not None}


def compile_query(rows: Any) -> tuple[str, Sequence[Any]]:
    return rows.query.sql_with_params()


def execute(scope: Scope, search: Search, size: ScopeSize | None, *, exact: bool = False) -> list[tuple]:
    return fetch_rows(*build_statement(scope, search, HIT_COLUMNS, size, exact=exact))


def to_hit(row: tuple, columns: Collection[str], explain: bool) -> dict[str, Any]:
    """Return a row as HitOut, with the extra columns of its ranking under the names `columns`."""
    score, similarity, text_rank, by_meaning, _, scope_rows, exact = row[-EXTRA_COLUMN_COUNT:]
    found_by = [name for name, found in (("meaning", by_meaning), ("words", text_rank is not None)) if found]
    hit = {
        "memory": to_memory_out(row_to_dict(row)),
        "score": score,
        "similarity": similarity,
        "text_rank": text_rank,
        "found_by": found_by,
        **dict(zip(columns, row[len(OUT_COLUMNS) :], strict=False)),
    }
    return hit | {"explain": {"rows_in_scope": scope_rows, "exact": exact}} if explain else hit
