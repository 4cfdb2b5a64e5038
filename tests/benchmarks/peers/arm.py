"""The process of one peer: `python -m tests.benchmarks.peers.arm NAME FILE SETTINGS`, by that peer's own interpreter.

It answers each line of stdin, a JSON object, with a line of JSON on stdout: {"write": [first, last], "singly": true},
{"finish": true}, {"search": [query, …], "user": …, "topic": …}.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.rows import LIMIT, Rows, Wanted


def main(name: str, file: str, settings: str) -> None:
    # What libraries print must not come between the answers.
    answers, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    os.dup2(2, 1)
    try:
        adapter = import_module(f"tests.benchmarks.peers.adapters.{name}")
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), file=answers, flush=True)
        return
    rows = Rows(Path(file))
    peer = adapter.Peer(rows, **json.loads(settings))
    versions = {package: version(package) for package in adapter.PACKAGES}
    print(json.dumps({"versions": versions, "bulk": hasattr(peer, "write_many")}), file=answers, flush=True)
    try:
        for line in sys.stdin:
            print(json.dumps(answer(peer, rows, json.loads(line))), file=answers, flush=True)
    finally:
        peer.close()


def answer(peer: Any, rows: Rows, request: dict[str, Any]) -> dict[str, Any]:
    if "write" in request:
        wanted = [rows.get(number) for number in range(*request["write"])]
        return {"seconds": measure_seconds(write, peer, wanted, singly=request["singly"])}
    if "finish" in request:
        return {"seconds": measure_seconds(getattr(peer, "finish", lambda: None))}
    return search(peer, [Wanted(query, request["user"], request["topic"]) for query in request["search"]])


def write(peer: Any, wanted: Sequence, *, singly: bool) -> None:
    if not singly and hasattr(peer, "write_many"):
        peer.write_many(wanted)
        return
    for row in wanted:
        peer.write_one(row)


def search(peer: Any, searches: list[Wanted]) -> dict[str, Any]:
    found, times = [], []
    for wanted in searches:
        started = time.perf_counter()
        numbers = peer.search(wanted, LIMIT)
        times.append((time.perf_counter() - started) * 1000)
        found.append(numbers)
    return {"found": found, "ms": times}


def measure_seconds(work: Any, *arguments: Any, **options: Any) -> float:
    started = time.perf_counter()
    work(*arguments, **options)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(*sys.argv[1:])
