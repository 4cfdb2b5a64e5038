"""`make mcp`: what a tool call costs beside the same request of the API, over HTTP, in turns.

Every query was asked before, so that its vector is known: without the time of the embedder the difference weighs most.
Only the ratios within one run mean something.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import psutil
import urllib3

from tests.stack.stack import Stack, running_stack, wait_until

MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
LIMIT, WARM_UP = 8, 20
MAX_RATIO = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000, help="memories to store (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=400, help="requests of each kind (default: %(default)s)")
    arguments = parser.parse_args()
    with running_stack(EMBEDDER="hashing") as stack:
        before = measure_memory(stack)
        load(stack, arguments.rows)
        figures = measure(stack, arguments.turns)
        print(f"web process: {before:.0f} MB as it starts, {measure_memory(stack):.0f} MB after the run")
    report(figures)


def load(stack: Stack, rows: int) -> None:
    for start in range(0, rows, 1000):
        memories = [{"content": write_text(number)} for number in range(start, min(start + 1000, rows))]
        assert stack.call("POST", "/memories/bulk", {"memories": memories}).status == 201
    wait_until(lambda: stack.backlog == 0, 300, "everything is embedded")


def write_text(number: int) -> str:
    return f"Entry {number}: berth {number % 97} was given to ship {number % 389}, which carried {number % 53} crates."


def measure_memory(stack: Stack) -> float:
    return sum(process.memory_info().rss for process in list_web(stack)) / 2**20


def list_web(stack: Stack) -> list[psutil.Process]:
    web = stack.part("web")
    assert web is not None
    return [web, *web.children(recursive=True)]


def measure(stack: Stack, turns: int) -> dict[str, list[tuple[float, float]]]:
    """Return seconds until the answer, and seconds of the web server's processors, of each request by kind."""
    client = urllib3.HTTPConnectionPool("127.0.0.1", stack.port, maxsize=1)
    kinds: dict[str, Callable[[str], Any]] = {
        "API recall": lambda query: ask_api(client, stack.key, query),
        f"MCP recall, {MODERN}": lambda query: ask_tool(client, stack.key, query, MODERN),
        f"MCP recall, {HANDSHAKE}": lambda query: ask_tool(client, stack.key, query, HANDSHAKE),
    }
    web, figures = list_web(stack), {name: [] for name in kinds}  # type: list[psutil.Process], dict[str, list]
    for turn in range(-WARM_UP, turns):
        query = f"ship {turn % 20} at berth {turn % 13}"
        order = list(kinds)[turn % 3 :] + list(kinds)[: turn % 3]
        for name in order:
            used, started = get_cpu_seconds(web), time.perf_counter()
            kinds[name](query)
            took = time.perf_counter() - started
            if turn >= 0:
                figures[name].append((took, get_cpu_seconds(web) - used))
    return figures


def get_cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def ask_api(client: urllib3.HTTPConnectionPool, key: str, query: str) -> None:
    found = send(client, "/api/v1/memories/recall", key, {"query": query, "limit": LIMIT, "floor": None})
    assert len(found["results"]) == LIMIT


def ask_tool(client: urllib3.HTTPConnectionPool, key: str, query: str, version: str) -> None:
    params: dict[str, Any] = {"name": "recall", "arguments": {"query": query, "limit": LIMIT}}
    headers = {"MCP-Protocol-Version": version}
    if version == MODERN:
        params["_meta"] = META
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "recall"}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    answer = send(client, "/mcp", key, message, **headers)
    assert len(answer["result"]["structuredContent"]["results"]) == LIMIT


def send(client: urllib3.HTTPConnectionPool, path: str, key: str, body: Any, **headers: str) -> Any:
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"} | headers
    response = client.request("POST", path, body=json.dumps(body), headers=sent)
    assert response.status == 200, response.data
    return response.json()


def report(figures: dict[str, list[tuple[float, float]]]) -> None:
    [base, *_] = figures.values()
    time_of_api, work_of_api = summarise(base)
    print(f"{'':28} {'median ms':>10} {'ratio':>6} {'CPU ms':>8} {'ratio':>6}")
    ratios = []
    for name, each in figures.items():
        median, work = summarise(each)
        ratios.append(median / time_of_api)
        print(f"{name:28} {median:10.2f} {ratios[-1]:6.2f} {work:8.2f} {work / work_of_api:6.2f}")
    print("within" if max(ratios) <= MAX_RATIO else "ABOVE", f"{MAX_RATIO} times the API's median")


def summarise(each: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the median time and the mean of the work, in milliseconds: the clock of the work ticks in hundredths."""
    return statistics.median(took for took, _ in each) * 1000, statistics.mean(work for _, work in each) * 1000


if __name__ == "__main__":
    main()
