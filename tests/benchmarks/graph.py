"""What finding costs when it is weighed and counts as use: recall beside the plain search, and a user's retrieval."""

from collections.abc import Callable
from typing import Any

from pgvector import HalfVector

from memories.models import Memory
from memories.retrieval.recall import COUNT_ACCESS_SQL, RECALL_RANKING, count_access
from memories.retrieval.retrieve import RetrievalFilters, retrieve
from memories.search.execute import HIT_COLUMNS, build_scope, find_memories
from memories.search.filters import Filters
from memories.search.floor import Floor
from memories.search.query import PLAIN_RANKING, Ranking, Search
from memories.search.statement import build_statement
from sessions_app.models import Namespace
from tests.benchmarks.arms import Operation, Sql
from tests.benchmarks.data import Synthetic
from tests.benchmarks.memories import fetch_known_size


def build_graph_operations(namespace: Namespace, data: Synthetic, model: str) -> list[Operation]:
    pk, vectors = namespace.pk, data.vectors(1016)
    floor = Floor(0.25, [HalfVector(vector) for vector in vectors[1000:]])
    of_user = Filters(user_id="user-1")

    def search(number: int, ranking: Ranking) -> Search:
        return Search(data.query(number % data.rows), vectors[number % 1000].tolist(), model, 20, ranking=ranking)

    def search_sql(wanted: Search) -> Sql:
        return build_statement(build_scope(pk, None, model), wanted, HIT_COLUMNS, fetch_known_size(pk, wanted, model))

    def recall(wanted: Search) -> None:
        count_access(pk, [hit["memory"]["id"] for hit in find_memories(pk, None, wanted)])

    def search_of_user_sql(wanted: Search) -> Sql:
        return build_statement(build_scope(pk, of_user, model), wanted, HIT_COLUMNS, None)

    def by_words(wanted: Search) -> dict:
        return {"query": wanted.query, "limit": 20}

    def body(wanted: Search) -> dict:
        return {"query": wanted.query, "vector": wanted.vector, "limit": 20}

    def weighed(name: str, ranking: Ranking, service: Callable[[Search], Any], path: str) -> Operation:
        return Operation(
            name,
            prepare=lambda number, arm: search(number, ranking),
            sql=search_sql,
            service=service,
            request=lambda wanted: ("POST", path, body(wanted)),
        )

    def retrieval(wanted: Search) -> list:
        filters = RetrievalFilters(user_id="user-1")
        return retrieve(pk, filters, wanted.query, wanted.vector, floor, model, [], 20)

    return [
        weighed(
            "search 20, beside recall",
            PLAIN_RANKING,
            lambda wanted: find_memories(pk, None, wanted),
            "/memories/search",
        ),
        weighed("recall 20", RECALL_RANKING, recall, "/memories/recall"),
        Operation(
            "count 20 accesses",
            prepare=lambda number, arm: list(Memory.objects.order_by("?").values_list("pk", flat=True)[:20]),
            sql=lambda ids: (f"{COUNT_ACCESS_SQL} RETURNING memory.id", {"namespace": pk, "memories": ids}),
            service=lambda ids: count_access(pk, ids),
            request=lambda ids: ("POST", "/memories/recall", {"query": "harbour", "mode": "text", "limit": 20}),
        ),
        Operation(
            "search 20 of a user, beside retrieve",
            prepare=lambda number, arm: search(number, PLAIN_RANKING),
            sql=search_of_user_sql,
            service=lambda wanted: find_memories(pk, of_user, wanted),
            request=lambda wanted: ("POST", "/memories/search", by_words(wanted) | {"filters": {"user_id": "user-1"}}),
        ),
        Operation(
            "retrieve 20",
            prepare=lambda number, arm: search(
                number + data.rows // 2, PLAIN_RANKING
            ),  # queries without a cached vector
            sql=search_of_user_sql,
            service=retrieval,
            request=lambda wanted: ("POST", "/users/user-1/retrieve", by_words(wanted)),
        ),
    ]
