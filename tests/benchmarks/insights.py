"""What it costs to search everything, or what a project sees, among insights, groups and dependencies."""

import hashlib
from typing import Any

from django.db import connection
from pgvector import HalfVector

from memories.insights.models import Insight, ProjectDependency, ProjectGroup
from memories.memory_types import MemoryType
from memories.models import DueEmbedding, Memory
from memories.namespace_sizes import measure_namespaces
from memories.projects.unified_search import add_source, build_unified_ranking
from memories.projects.visibility import VisibleToProjectFilters, build_project_ranking
from memories.search.execute import HIT_COLUMNS, build_scope, find_memories
from memories.search.filters import Filters
from memories.search.query import Ranking, Search
from memories.search.scope_size import scope_sizes
from memories.search.statement import build_statement
from sessions_app.models import Namespace
from tests.benchmarks.arms import Operation, Sql
from tests.benchmarks.data import EMBEDDING_COLUMNS, Synthetic, copy_rows

PROJECTS, INSIGHTS, EXTRA_INSIGHTS, GROUP_SIZE = 100, 2_000, 3_000, 10


def project_name(number: int) -> str:
    return f"project {number % PROJECTS}"


def insert_insights(namespace: Namespace, data: Synthetic, model: str) -> None:
    """Insights of two projects each, memories of one each; groups of ten, and each project uses the one seven further
    on."""
    common = {"namespace": namespace, "source_system": "benchmark"}
    texts = [f"{number} of projects {data.content(number % data.rows)}" for number in range(INSIGHTS + EXTRA_INSIGHTS)]
    made = [Memory(**common, content=text, memory_type=MemoryType.INSIGHT) for text in texts[:INSIGHTS]]
    made += [Memory(**common, content=text, repo_id=project_name(n)) for n, text in enumerate(texts[INSIGHTS:])]
    Memory.objects.bulk_create(made, batch_size=1_000)
    vectors = zip(made, data.vectors(len(made)), strict=True)
    rows = (
        (m.pk, namespace.pk, None, m.memory_type, model, compute_digest(m), HalfVector(vector)) for m, vector in vectors
    )
    copy_rows("memories_embedding", EMBEDDING_COLUMNS, rows)
    DueEmbedding.objects.filter(memory__in=made).delete()
    own = {"namespace": namespace, "quality": 0.5, "bands": []}
    pairs = ([project_name(n), project_name(n * 3 + 1)] for n in range(INSIGHTS))
    learned = [
        Insight(**own, memory=m, digest=compute_digest(m), projects=pair) for m, pair in zip(made, pairs, strict=False)
    ]
    Insight.objects.bulk_create(learned, batch_size=1_000)
    groups = [[project_name(n) for n in range(start, start + GROUP_SIZE)] for start in range(0, PROJECTS, GROUP_SIZE)]
    ProjectGroup.objects.bulk_create(
        ProjectGroup(namespace=namespace, name=f"from {each[0]}", projects=each) for each in groups
    )
    ends = ((project_name(n), project_name(n + 7)) for n in range(PROJECTS))
    ProjectDependency.objects.bulk_create(
        ProjectDependency(namespace=namespace, source_project=a, target_project=b, type="uses") for a, b in ends
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE memories_memory, memories_embedding, insights_insight, insights_projectgroup")
    measure_namespaces()


def compute_digest(memory: Memory) -> bytes:
    return hashlib.sha256(memory.content.encode()).digest()


def build_insight_operations(namespace: Namespace, data: Synthetic, model: str) -> list[Operation]:
    insert_insights(namespace, data, model)
    pk, vectors = namespace.pk, data.vectors(1000)

    def searching(name: str, path: str, ranking: Any, filters: Any, body: Any) -> Operation:
        """ranking, filters, body: of the number of a round."""

        def search(number: int) -> Search:
            query = data.query(number % data.rows)
            return Search(query, vectors[number % 1000].tolist(), model, 20, ranking=ranking(number))

        def prepare(number: int, arm: str) -> tuple[int, Search]:
            return abs(number), search(abs(number))

        def service(asked: tuple[int, Search]) -> list[dict]:
            number, wanted = asked
            return [add_source(hit) for hit in find_memories(pk, filters(number), wanted)]

        def sql(asked: tuple[int, Search]) -> Sql:
            number, wanted = asked
            scope = build_scope(pk, filters(number), model)
            size = scope_sizes.get((scope.memories[0], repr(scope.memories[1]), None))
            return build_statement(scope, wanted, HIT_COLUMNS, size)

        def request(asked: tuple[int, Search]) -> tuple[str, str, dict]:
            number, wanted = asked
            return "POST", path, {"query": wanted.query, "vector": wanted.vector, "limit": 20} | body(number)

        return Operation(name, prepare, sql, service, request)

    def everywhere(number: int) -> Filters:
        return Filters()

    def in_sight(number: int) -> VisibleToProjectFilters:
        return VisibleToProjectFilters(namespace_id=pk, project=project_name(number))

    def near(number: int) -> Ranking:
        return build_unified_ranking(pk, project_name(number))

    def seen(number: int) -> Ranking:
        return build_project_ranking(pk, project_name(number), 0)

    def named(number: int) -> dict:
        return {"project": project_name(number)}

    return [
        searching(
            "search everything, 20", "/search", lambda _: build_unified_ranking(pk, None), everywhere, lambda _: {}
        ),
        searching("search everything for a project, 20", "/search", near, everywhere, named),
        searching(
            "search what a project sees, 20",
            "/projects/search",
            lambda n: build_project_ranking(pk, project_name(n), 0),
            in_sight,
            named,
        ),
    ]
