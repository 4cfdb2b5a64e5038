"""raw, service and http, in turns, for any operations."""

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
from rich.table import Table

WARM_UP_ROUNDS = 10
Sql = tuple[str, Any]


@dataclass
class Operation:
    """One thing a caller does, in three ways; each is given what `prepare` makes of the round's number and the arm,
    which is not timed."""

    name: str
    prepare: Callable[[int, str], Any]
    sql: Callable[[Any], Sql | list[Sql]]
    service: Callable[[Any], Any]
    request: Callable[[Any], tuple[str, str, dict | None]]
    times: dict[str, list[float]] = field(default_factory=lambda: {"raw": [], "service": [], "http": []})
    queries: int = 0
    cpu_ms: float = 0.0


def measure(operations: list[Operation], title: str, url: str, token: str, server: int, rounds: int) -> Table:
    http = urllib3.PoolManager(headers={"Authorization": f"Bearer {token}"}, timeout=30)
    with psycopg.connect(**connection_parameters(), autocommit=True) as raw:
        raw.adapters.register_loader("jsonb", psycopg.types.string.TextLoader)
        raw.prepare_threshold = None
        for operation in operations:
            count_queries(operation, token)
            for number in range(rounds + WARM_UP_ROUNDS):
                run_round(operation, number, raw, http, url)
            for times in operation.times.values():
                del times[:WARM_UP_ROUNDS]
            operation.cpu_ms = measure_cpu_per_request(operation, rounds, http, url, server)
    return build_table(operations, title)


def connection_parameters() -> dict[str, Any]:
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


def run_round(operation: Operation, number: int, raw: psycopg.Connection, http: urllib3.PoolManager, url: str) -> None:
    for arm in ("service", "raw", "http") if number % 2 == 0 else ("http", "service", "raw"):
        wanted = operation.prepare(number, arm)
        if arm == "raw":
            work = partial(run_raw, raw, operation.sql(wanted))
        elif arm == "service":
            work = partial(operation.service, wanted)
        else:
            work = partial(send_request, http, url, *operation.request(wanted))
        started = time.perf_counter()
        work()
        operation.times[arm].append((time.perf_counter() - started) * 1000)


def run_raw(raw: psycopg.Connection, statements: Sql | list[Sql]) -> None:
    for statement in statements if isinstance(statements, list) else [statements]:
        raw.execute(*statement).fetchall()


def send_request(http: urllib3.PoolManager, url: str, method: str, path: str, body: dict | None) -> None:
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


def measure_cpu_per_request(
    operation: Operation, rounds: int, http: urllib3.PoolManager, url: str, server: int
) -> float:
    """CPU milliseconds of the web server's processes for one request."""
    requests = [operation.request(operation.prepare(1_000_000 + number, "cpu")) for number in range(rounds)]
    before = read_web_cpu_seconds(server)
    for wanted in requests:
        send_request(http, url, *wanted)
    return (read_web_cpu_seconds(server) - before) * 1000 / rounds


def read_web_cpu_seconds(server: int) -> float:
    children = psutil.Process(server).children(recursive=True)
    web = [child for child in children if any("granian" in part for part in child.cmdline())]
    web += [child for one in web for child in one.children(recursive=True)]
    times = [process.cpu_times() for process in {process.pid: process for process in web}.values()]
    return sum(each.user + each.system for each in times)


def build_table(operations: list[Operation], title: str) -> Table:
    columns = ("operation", "raw p50 ms", "service / raw", "http / raw", "http p50 ms", "http p95 ms", "SQL", "CPU ms")
    result = Table(*columns, title=f"{title}; medians of turns in one run; SQL and CPU for one request")
    for each in operations:
        raw, service, http = (statistics.median(each.times[arm]) for arm in ("raw", "service", "http"))
        p95 = statistics.quantiles(each.times["http"], n=20)[-1]
        result.add_row(
            each.name, f"{raw:.2f}", f"{service / raw:.2f}", f"{http / raw:.2f}", f"{http:.2f}", f"{p95:.2f}",
            str(each.queries), f"{each.cpu_ms:.2f}",
        )  # fmt: skip
    return result
