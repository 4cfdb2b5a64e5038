"""raw, service and http, in turns, for every operation."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psutil
import psycopg
import urllib3
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pydantic_core import to_json
from rich.table import Table

from memories.add import ADD, WHOLE, add_one, draft
from memories.api import answer
from memories.filters import Filters
from memories.find import COLUMNS, find, scope_of
from memories.models import Memory
from memories.schemas import OUT_COLUMNS, MemoryIn, memory_out
from memories.search import Search, statement
from memories.search.size import sizes
from memory_site.pages import page
from sessions_app.models import Namespace
from tests.benchmarks.data import Synthetic

WARM_UP = 10
Sql = tuple[str, Any]


@dataclass
class Operation:
    """One thing a caller does, in three ways; each is given what `prepare` makes of the round's number and the arm,
    which is not timed."""

    name: str
    prepare: Callable[[int, str], Any]
    sql: Callable[[Any], Sql]
    service: Callable[[Any], Any]
    request: Callable[[Any], tuple[str, str, dict | None]]
    times: dict[str, list[float]] = field(default_factory=lambda: {"raw": [], "service": [], "http": []})
    queries: int = 0
    cpu_ms: float = 0.0


def measure(namespace: Namespace, data: Synthetic, model: str, url: str, token: str, server: int, rounds: int) -> Table:
    http = urllib3.PoolManager(headers={"Authorization": f"Bearer {token}"}, timeout=30)
    operations = operations_on(namespace, data, model)
    with psycopg.connect(**parameters(), autocommit=True) as raw:
        raw.adapters.register_loader("jsonb", psycopg.types.string.TextLoader)
        raw.prepare_threshold = None
        for operation in operations:
            count_queries(operation, token)
            for number in range(rounds + WARM_UP):
                one_round(operation, number, raw, http, url)
            for times in operation.times.values():
                del times[:WARM_UP]
            operation.cpu_ms = cpu_per_request(operation, rounds, http, url, server)
    return table(operations, data.rows)


def parameters() -> dict[str, Any]:
    """The connection Django makes, with the same settings of the server."""
    database = settings.DATABASES["default"]
    return {
        "host": database["HOST"],
        "port": database["PORT"],
        "dbname": database["NAME"],
        "user": database["USER"],
        "password": database["PASSWORD"],
        "options": database["OPTIONS"]["options"],
    }


def operations_on(namespace: Namespace, data: Synthetic, model: str) -> list[Operation]:
    pk, vectors = namespace.pk, data.vectors(1000)
    mine = Memory.objects.in_namespace(pk)
    ids = list(mine.order_by("?").values_list("pk", flat=True)[:1000])

    def memory(number: int, arm: str) -> MemoryIn:
        return MemoryIn(content=f"{arm} {number} {data.content(number % data.rows)}", user_id="bench", tags=["new"])

    def store_sql(wanted: MemoryIn) -> Sql:
        return ADD + WHOLE, {"namespace": pk, "drafts": to_json([draft(wanted).columns]).decode()}

    def search(number: int, hybrid: bool) -> Search:
        query = data.query(number % data.rows) if hybrid else None
        return Search(query, vectors[number % 1000].tolist(), model, 20)

    def search_sql(wanted: Search) -> Sql:
        size = sizes.get(next(iter(sizes._seen)))  # known from the service's turn, which came first
        return statement(scope_of(pk, None, model), wanted, COLUMNS, size)

    def search_body(wanted: Search) -> dict:
        mode = {"query": wanted.query, "mode": "hybrid"} if wanted.query else {"mode": "vector"}
        return mode | {"vector": wanted.vector, "limit": 20}

    def searching(name: str, hybrid: bool) -> Operation:
        return Operation(
            name,
            prepare=lambda number, arm: search(number, hybrid),
            sql=search_sql,
            service=lambda wanted: find(pk, None, wanted),
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
            prepare=lambda number, arm: ids[number % 1000],
            sql=lambda key: one(key)[:1].query.sql_with_params(),
            service=lambda key: memory_out(one(key).first()),
            request=lambda key: ("GET", f"/memories/{key}", None),
        ),
        Operation(
            "list 20",
            prepare=lambda number, arm: None,
            sql=lambda _: mine.newest_first().values(*OUT_COLUMNS)[:21].query.sql_with_params(),
            service=lambda _: answer(page(mine.matching(Filters()), OUT_COLUMNS, 20, None, memory_out)),
            request=lambda _: ("GET", "/memories", None),
        ),
        searching("vector search 20", hybrid=False),
        searching("hybrid search 20", hybrid=True),
    ]


def one_round(operation: Operation, number: int, raw: psycopg.Connection, http: urllib3.PoolManager, url: str) -> None:
    for arm in ("service", "raw", "http") if number % 2 == 0 else ("http", "service", "raw"):
        wanted = operation.prepare(number, arm)
        if arm == "raw":
            work = partial(run_raw, raw, *operation.sql(wanted))
        elif arm == "service":
            work = partial(operation.service, wanted)
        else:
            work = partial(ask, http, url, *operation.request(wanted))
        started = time.perf_counter()
        work()
        operation.times[arm].append((time.perf_counter() - started) * 1000)


def run_raw(raw: psycopg.Connection, sql: str, parameters: Any) -> None:
    raw.execute(sql, parameters).fetchall()


def ask(http: urllib3.PoolManager, url: str, method: str, path: str, body: dict | None) -> None:
    response = (
        http.request(method, f"{url}/api/v1{path}", json=body) if body else http.request(method, f"{url}/api/v1{path}")
    )
    if response.status not in (200, 201):
        raise RuntimeError(f"{method} {path}: {response.status} {response.data[:300]!r}")


def count_queries(operation: Operation, token: str) -> None:
    """Statements of one request after authentication, whose caller is remembered for half a second."""
    client, headers = Client(), {"Authorization": f"Bearer {token}", "Host": "localhost"}
    for number in (-2, -1):
        method, path, body = operation.request(operation.prepare(number, "counted"))
        content = {"data": json.dumps(body), "content_type": "application/json"} if body else {}
        with CaptureQueriesContext(connection) as queries:
            client.generic(method, f"/api/v1{path}", headers=headers, **content)
    operation.queries = len(queries)


def cpu_per_request(operation: Operation, rounds: int, http: urllib3.PoolManager, url: str, server: int) -> float:
    """CPU milliseconds of the web server's processes for one request."""
    requests = [operation.request(operation.prepare(1_000_000 + number, "cpu")) for number in range(rounds)]
    before = web_cpu(server)
    for wanted in requests:
        ask(http, url, *wanted)
    return (web_cpu(server) - before) * 1000 / rounds


def web_cpu(server: int) -> float:
    children = psutil.Process(server).children(recursive=True)
    web = [child for child in children if any("granian" in part for part in child.cmdline())]
    web += [child for one in web for child in one.children(recursive=True)]
    times = [process.cpu_times() for process in {process.pid: process for process in web}.values()]
    return sum(each.user + each.system for each in times)


def table(operations: list[Operation], rows: int) -> Table:
    columns = ("operation", "raw p50 ms", "service / raw", "http / raw", "http p50 ms", "http p95 ms", "SQL", "CPU ms")
    result = Table(*columns, title=f"{rows:,} memories; medians of turns in one run; SQL and CPU for one request")
    for each in operations:
        raw, service, http = (statistics.median(each.times[arm]) for arm in ("raw", "service", "http"))
        p95 = statistics.quantiles(each.times["http"], n=20)[-1]
        result.add_row(
            each.name, f"{raw:.2f}", f"{service / raw:.2f}", f"{http / raw:.2f}", f"{http:.2f}", f"{p95:.2f}",
            str(each.queries), f"{each.cpu_ms:.2f}",
        )  # fmt: skip
    return result
