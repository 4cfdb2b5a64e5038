"""What a caller does with memories: store, get, list, search."""

from typing import Any

from pydantic_core import to_json

from memories.add import add_one
from memories.models import Memory
from memories.reads import fetch_memory, fetch_memory_page
from memories.schemas import OUT_COLUMNS, MemoryIn
from memories.search.execute import HIT_COLUMNS, build_scope, find_memories
from memories.search.filters import Filters
from memories.search.query import Search
from memories.search.scope_size import ScopeSize, scope_sizes
from memories.search.statement import build_statement
from memories.storage import UPSERT_ONE_SQL, make_draft
from memory_site.core.http.responses import json_response
from sessions_app.models import Namespace
from tests.benchmarks.arms import Operation, Sql
from tests.benchmarks.data import Synthetic


def fetch_known_size(namespace_id: int, search: Search, model: str) -> ScopeSize:
    """Return the size of the whole namespace that a service call remembers; it makes one when it has forgotten."""
    scope = build_scope(namespace_id, None, model)
    for (memories, parameters, _), size in scope_sizes.items():
        if (memories, parameters) == (scope.memories[0], repr(scope.memories[1])):
            return size
    find_memories(namespace_id, None, search)
    return fetch_known_size(namespace_id, search, model)


def build_memory_operations(namespace: Namespace, data: Synthetic, model: str) -> list[Operation]:
    pk, vectors = namespace.pk, data.vectors(1000)
    mine = Memory.objects.in_namespace(pk)
    ids = list(mine.order_by("?").values_list("pk", flat=True)[:1000])

    def memory(number: int, arm: str) -> MemoryIn:
        return MemoryIn(content=f"{arm} {number} {data.content(number % data.rows)}", user_id="bench", tags=["new"])

    def store_sql(wanted: MemoryIn) -> Sql:
        return UPSERT_ONE_SQL["content"], {
            "namespace": pk,
            "drafts": to_json([make_draft(wanted).columns]).decode(),
        }

    def search(number: int, hybrid: bool) -> Search:
        query = data.query(number % data.rows) if hybrid else None
        return Search(query, vectors[number % 1000].tolist(), model, 20)

    def search_sql(wanted: Search) -> Sql:
        return build_statement(build_scope(pk, None, model), wanted, HIT_COLUMNS, fetch_known_size(pk, wanted, model))

    def search_body(wanted: Search) -> dict:
        mode = {"query": wanted.query, "mode": "hybrid"} if wanted.query else {"mode": "vector"}
        return mode | {"vector": wanted.vector, "limit": 20}

    def searching(name: str, hybrid: bool) -> Operation:
        return Operation(
            name,
            prepare=lambda number, arm: search(number, hybrid),
            sql=search_sql,
            service=lambda wanted: find_memories(pk, None, wanted),
            request=lambda wanted: ("POST", "/memories/search", search_body(wanted)),
        )

    def one(key: Any) -> Any:
        return mine.filter(pk=key).values(*OUT_COLUMNS)

    return [
        Operation(
            "store",
            prepare=memory,
            sql=store_sql,
            service=lambda wanted: add_one(pk, wanted, model),
            request=lambda wanted: ("POST", "/memories", wanted.model_dump(mode="json", exclude_defaults=True)),
        ),
        Operation(
            "get",
            prepare=lambda number, arm: ids[number % len(ids)],
            sql=lambda key: one(key)[:1].query.sql_with_params(),
            service=lambda key: json_response(fetch_memory(pk, key)),
            request=lambda key: ("GET", f"/memories/{key}", None),
        ),
        Operation(
            "list 20",
            prepare=lambda number, arm: None,
            sql=lambda _: mine.newest_first().values(*OUT_COLUMNS)[:21].query.sql_with_params(),
            service=lambda _: json_response(fetch_memory_page(pk, Filters(), 20, None)),
            request=lambda _: ("GET", "/memories", None),
        ),
        searching("vector search 20", hybrid=False),
        searching("hybrid search 20", hybrid=True),
    ]
