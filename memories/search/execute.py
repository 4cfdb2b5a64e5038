"""Finding memories: the scope compiled, the statement run, its rows as hits."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg.types.datetime import TimestamptzLoader

from memories.embeddings import get_embedder
from memories.models import Embedding, Memory
from memories.schemas import OUT_COLUMNS, qualify_out_columns, to_memory_out
from memories.search.filters import Filters
from memories.search.query import EXTRA_COLUMN_COUNT, NEAR_COUNT_INDEX, UNGROUPED_COUNT_INDEX, Scope, Search
from memories.search.scope_size import ScopeSize, scope_sizes
from memories.search.statement import build_statement
from memories.search.words import extract_required
from memories.storage import row_to_dict as named_row

HIT_COLUMNS = qualify_out_columns("memory")


def find_memories(
    namespace_id: int | None, filters: Filters | None, search: Search, *, explain: bool = False
) -> list[dict]:
    """HitOut dictionaries, best first. One statement; a second one only when what it found fell short of the limit.

    `namespace_id` None searches every namespace: for operators, never for callers.
    """
    scope = build_scope(namespace_id, filters, search.model or get_embedder().model)
    key = (scope.memories[0], repr(scope.memories[1]), search.query and extract_required(search.query))
    size = scope_sizes.get(key)
    rows = execute(scope, search, size)
    if size is None:
        scope_sizes.set(key, size := ScopeSize(*rows[0][-2:]))
    # The index fell short of what was asked for, or what is the same took the places of what is not: there may be more,
    # and it is looked for exactly.
    short = search.vector is not None and not size.few and rows[0][NEAR_COUNT_INDEX] < search.depth
    few = search.ranking.one_of is not None and len(rows) < search.limit
    if short:
        scope_sizes.discard(key)
    if short or (few and rows[0][UNGROUPED_COUNT_INDEX] >= search.depth):
        rows = execute(scope, replace(search, deep=few), size, exact=True)
    return [to_hit(row, search.ranking.columns, explain) for row in rows if row[0] is not None]


def build_scope(namespace_id: int | None, filters: Filters | None, model: str) -> Scope:
    """Both arms start from the same scoped, filtered rows."""
    return compile_scope(namespace_id, type(filters), filters and filters.model_dump_json(exclude_none=True), model)


# The same scope compiles to the same statement (the clock is read in SQL), and compiling costs half a millisecond.
@lru_cache(maxsize=1_000)
def compile_scope(namespace_id: int | None, kind: type[Filters], asked: str | None, model: str) -> Scope:
    filters = kind.model_validate_json(asked) if asked else None
    memories, vectors = Memory.objects.alive(), Embedding.objects.of_model(model).alive()
    if namespace_id is not None:
        memories, vectors = memories.filter(namespace_id=namespace_id), vectors.filter(namespace_id=namespace_id)
    labels = filters and filters.labels()
    return Scope(
        memories=compile_query(memories.matching(filters).values_list("pk", "search_vector")),
        vectors=compile_query(vectors.matching(labels).values_list("memory_id", "vector")),
        complete=filters == labels,
    )


def find_nearest_ids(
    namespace_id: int, filters: Filters | None, vector: list[float], model: str, limit: int, *, exact: bool
) -> dict[UUID, float]:
    """Similarities of the nearest memories by id, by the exact scan or by the index, whatever the size of the scope."""
    search = Search(None, vector, model, limit)
    rows = execute(build_scope(namespace_id, filters, model), search, ScopeSize(0, few=False), exact=exact)
    return {row[0]: row[-EXTRA_COLUMN_COUNT + 1] for row in rows if row[0] is not None}


def compile_query(rows: Any) -> tuple[str, Sequence[Any]]:
    return rows.query.sql_with_params()


def execute(scope: Scope, search: Search, size: ScopeSize | None, *, exact: bool = False) -> list[tuple]:
    with connection.cursor() as cursor:
        # Django reads times in Python, 9 µs each; connections are in UTC, so the driver's own way gives the same.
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        cursor.execute(*build_statement(scope, search, HIT_COLUMNS, size, exact=exact))
        return cursor.fetchall()


def to_hit(row: tuple, columns: Collection[str], explain: bool) -> dict[str, Any]:
    """HitOut, and what its ranking says of it besides under the names of `columns`."""
    score, similarity, text_rank, by_meaning, _, rows, few = row[-EXTRA_COLUMN_COUNT:]
    found_by = [arm for arm, found in (("meaning", by_meaning), ("words", text_rank is not None)) if found]
    found = {
        "memory": to_memory_out(named_row(row)),
        "score": score,
        "similarity": similarity,
        "text_rank": text_rank,
        "found_by": found_by,
        **dict(zip(columns, row[len(OUT_COLUMNS) :], strict=False)),
    }
    return found | {"explain": {"rows_in_scope": rows, "exact": few}} if explain else found
