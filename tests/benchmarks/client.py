"""`make client`: a call of the Python client beside the same request through httpx2 alone.

A server of its own, and calls in turns: one of each, then the other way round, so that both meet the same machine. The
request is the same, its headers too, and both decode the answer: httpx2 to dictionaries, the client to its types.
Ends with 1 when a call takes more than 1.2 times as long as the request.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from rich.console import Console
from rich.table import Table

from memory_client import AsyncMemoryClient, MemoryClient

ALLOWED = 1.2
MEMORIES = 500
COLUMNS = ("operation", "client", "httpx2 ms", "client ms", "client ÷ httpx2", "in tenths of the run", "CPU µs more")
Timed = tuple[float, float]
#: A request as httpx2 sends it: method, path, JSON, whether it writes.
REQUESTS: dict[str, Callable[[dict[str, Any]], tuple[str, str, Any, bool]]] = {
    "get": lambda each: ("GET", f"/memories/{each['id']}", None, False),
    "add": lambda each: ("POST", "/memories?wait=false", {"content": each["content"], "user_id": "ada"}, True),
    "search": lambda each: ("POST", "/memories/search", SEARCH | {"query": each["words"]}, False),
}
SEARCH = {"mode": "text", "limit": 10, "explain": False, "filters": {"user_id": "ada"}}
CALLS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "get": lambda memories, each: memories.get(each["id"]),
    "add": lambda memories, each: memories.add(each["content"], user_id="ada"),
    "search": lambda memories, each: memories.search(each["words"], mode="text", user_id="ada"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="calls of each kind (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memory-site-client-") as directory:
        os.environ |= {"DATA_DIR": str(Path(directory) / "data"), "DJANGO_SETTINGS_MODULE": "memory_site.settings"}
        os.environ |= {"EMBEDDER": "hashing", "LOG_LEVEL": "ERROR"}
        sys.exit(run(arguments.calls))


def run(calls: int) -> bool:
    """Print the figures. Return whether one of them is too high."""
    from tests.benchmarks.run import ApiKey, Namespace, run_server  # noqa: PLC0415  (reads the settings)

    table, ratios = Table(*COLUMNS, title=f"{calls:,} calls of each kind, in turns"), []
    with run_server() as (url, _):
        key = ApiKey.objects.issue(Namespace.objects.create(name="measured"))[1]
        given = list(build_arguments(url, key, calls))
        for name in REQUESTS:
            for kind, pairs in (
                ("sync", measure(url, key, name, given)),
                ("async", asyncio.run(measure_async(url, key, name, given))),
            ):
                ratios.append(add_row(table, name, kind, pairs))
    Console(width=140).print(table)
    return max(ratios) > ALLOWED


def build_arguments(url: str, key: str, calls: int) -> Iterator[dict[str, Any]]:
    with MemoryClient(url, key) as client:
        texts = [f"Fact {number}: Ada likes tea of kind {number % 37}." for number in range(MEMORIES)]
        ids = client.memories.add_many([{"content": text, "user_id": "ada"} for text in texts]).ids
    for number in range(calls):
        yield {"id": str(ids[number % MEMORIES]), "words": f"tea of kind {number % 37}"}


def measure(url: str, key: str, name: str, given: list[dict[str, Any]]) -> list[tuple[Timed, Timed]]:
    numbers = count()
    with MemoryClient(url, key) as client, httpx2.Client(headers=client.transport.settings.headers) as http:

        def request(each: dict[str, Any]) -> Any:
            method, path, body, writes = REQUESTS[name](each)
            headers = {"Idempotency-Key": uuid4().hex} if writes else {}
            return http.request(method, f"{url}/api/v1{path}", json=body, headers=headers).raise_for_status().json()

        def call(each: dict[str, Any]) -> Any:
            return CALLS[name](client.memories, each)

        def take_time(work: Callable[[dict[str, Any]], Any], each: dict[str, Any]) -> Timed:
            each = each | {"content": f"{name} {next(numbers)} of sync"}
            begun, cpu = time.perf_counter(), time.process_time()
            work(each)
            return time.perf_counter() - begun, time.process_time() - cpu

        pairs = []
        for number, each in enumerate(given):
            order = (request, call) if number % 2 else (call, request)
            timed = {work: take_time(work, each) for work in order}
            pairs.append((timed[request], timed[call]))
        return pairs


async def measure_async(url: str, key: str, name: str, given: list[dict[str, Any]]) -> list[tuple[Timed, Timed]]:
    numbers = count()
    client = AsyncMemoryClient(url, key)
    async with client, httpx2.AsyncClient(headers=client.transport.settings.headers) as http:

        async def request(each: dict[str, Any]) -> Any:
            method, path, body, writes = REQUESTS[name](each)
            headers = {"Idempotency-Key": uuid4().hex} if writes else {}
            answer = await http.request(method, f"{url}/api/v1{path}", json=body, headers=headers)
            return answer.raise_for_status().json()

        async def call(each: dict[str, Any]) -> Any:
            return await CALLS[name](client.memories, each)

        async def take_time(work: Callable[[dict[str, Any]], Any], each: dict[str, Any]) -> Timed:
            each = each | {"content": f"{name} {next(numbers)} of async"}
            begun, cpu = time.perf_counter(), time.process_time()
            await work(each)
            return time.perf_counter() - begun, time.process_time() - cpu

        pairs = []
        for number, each in enumerate(given):
            order = (request, call) if number % 2 else (call, request)
            timed = {work: await take_time(work, each) for work in order}
            pairs.append((timed[request], timed[call]))
        return pairs


def add_row(table: Table, name: str, kind: str, pairs: list[tuple[Timed, Timed]]) -> float:
    """Return the ratio of the medians. The spread is that of ten parts of the run."""
    plain, ours = find_medians(pairs)
    size = max(1, len(pairs) // 10)
    tenths = [find_ratio(pairs[start : start + size]) for start in range(0, len(pairs) - size + 1, size)]
    more = statistics.median(ours[1] - plain[1] for plain, ours in pairs)
    row = (f"{plain * 1000:.2f}", f"{ours * 1000:.2f}", f"{ours / plain:.2f}")
    table.add_row(name, kind, *row, f"{min(tenths):.2f} to {max(tenths):.2f}", f"{more * 1e6:.0f}")
    return ours / plain


def find_medians(pairs: list[tuple[Timed, Timed]]) -> tuple[float, float]:
    return statistics.median(plain[0] for plain, _ in pairs), statistics.median(ours[0] for _, ours in pairs)


def find_ratio(pairs: list[tuple[Timed, Timed]]) -> float:
    plain, ours = find_medians(pairs)
    return ours / plain


if __name__ == "__main__":
    main()
