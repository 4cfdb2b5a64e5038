"""What it costs to search everything, or what a project sees, among insights, groups and dependencies."""

import hashlib
from typing import Any

from django.db import connection
from pgvector import HalfVector

from memories.insights.models import Insight, ProjectDependency, ProjectGroup
from memories.models import DueEmbedding, Memory
from memories.projects.unified_search import everything, labelled
from memories.projects.visibility import InSight, weighed
from memories.search.execute import COLUMNS, find, scope_of
from memories.search.filters import Filters
from memories.search.query import Ranking, Search
from memories.search.scope_size import sizes
from memories.search.statement import statement
from memories.types import MemoryType
from sessions_app.models import Namespace
from tests.benchmarks.arms import Operation, Sql
from tests.benchmarks.data import EMBEDDING_COLUMNS, Synthetic, copy

PROJECTS, INSIGHTS, TOLD, IN_A_GROUP = 100, 2_000, 3_000, 10


def project(number: int) -> str:
    return f"project {number % PROJECTS}"


def fill(namespace: Namespace, data: Synthetic, model: str) -> None:
    """Insights of two projects each, memories of one each; groups of ten, and each project uses the one seven further
    on."""
    common = {"namespace": namespace, "source_system": "benchmark"}
    texts = [f"{number} of projects {data.content(number % data.rows)}" for number in range(INSIGHTS + TOLD)]
    made = [Memory(**common, content=text, memory_type=MemoryType.INSIGHT) for text in texts[:INSIGHTS]]
    made += [Memory(**common, content=text, repo_id=project(n)) for n, text in enumerate(texts[INSIGHTS:])]
    Memory.objects.bulk_create(made, batch_size=1_000)
    vectors = zip(made, data.vectors(len(made)), strict=True)
    rows = ((m.pk, namespace.pk, None, m.memory_type, model, digest(m), HalfVector(vector)) for m, vector in vectors)
    copy("memories_embedding", EMBEDDING_COLUMNS, rows)
    DueEmbedding.objects.filter(memory__in=made).delete()
    own = {"namespace": namespace, "quality": 0.5, "bands": []}
    pairs = ([project(n), project(n * 3 + 1)] for n in range(INSIGHTS))
    learned = [Insight(**own, memory=m, digest=digest(m), projects=pair) for m, pair in zip(made, pairs, strict=False)]
    Insight.objects.bulk_create(learned, batch_size=1_000)
    groups = [[project(n) for n in range(start, start + IN_A_GROUP)] for start in range(0, PROJECTS, IN_A_GROUP)]
    ProjectGroup.objects.bulk_create(
        ProjectGroup(namespace=namespace, name=f"from {each[0]}", projects=each) for each in groups
    )
    ends = ((project(n), project(n + 7)) for n in range(PROJECTS))
    ProjectDependency.objects.bulk_create(
        ProjectDependency(namespace=namespace, source_project=a, target_project=b, type="uses") for a, b in ends
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE memories_memory, memories_embedding, insights_insight, insights_projectgroup")


def digest(memory: Memory) -> bytes:
    return hashlib.sha256(memory.content.encode()).digest()


def operations_on_insights(namespace: Namespace, data: Synthetic, model: str) -> list[Operation]:
    fill(namespace, data, model)
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
            return [labelled(hit) for hit in find(pk, filters(number), wanted)]

        def sql(asked: tuple[int, Search]) -> Sql:
            number, wanted = asked
            scope = scope_of(pk, filters(number), model)
            size = sizes.get((scope.memories[0], repr(scope.memories[1]), None))
            return statement(scope, wanted, COLUMNS, size)

        def request(asked: tuple[int, Search]) -> tuple[str, str, dict]:
            number, wanted = asked
            return "POST", path, {"query": wanted.query, "vector": wanted.vector, "limit": 20} | body(number)

        return Operation(name, prepare, sql, service, request)

    def everywhere(number: int) -> Filters:
        return Filters()

    def in_sight(number: int) -> InSight:
        return InSight(namespace_id=pk, project=project(number))

    def near(number: int) -> Ranking:
        return everything(pk, project(number))

    def seen(number: int) -> Ranking:
        return weighed(pk, project(number), 0)

    def named(number: int) -> dict:
        return {"project": project(number)}

    return [
        searching("search everything, 20", "/search", lambda _: everything(pk, None), everywhere, lambda _: {}),
        searching("search everything for a project, 20", "/search", near, everywhere, named),
        searching(
            "search what a project sees, 20", "/projects/search", lambda n: weighed(pk, project(n), 0), in_sight, named
        ),
    ]
