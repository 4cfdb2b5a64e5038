"""A thousand clients at once: one answer or another for each, and other namespaces hardly notice."""

import re
import socket
import statistics
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.flood import ANSWER_TIMEOUT_SECONDS, Answers, build_request, run_flood
from tests.stack.stack import Stack, run_manage, wait_until

CLIENTS, SECONDS = 1000, 12
LARGE_BODY_BYTES = 4_000_000
EVERY_LARGE = 50


@pytest.fixture(scope="module")
def neighbour_key(stack: Stack) -> str:
    """The key of another namespace than the flood's."""
    made = run_manage("create_api_key", "--namespace", "neighbour", **stack.environment)
    return next(word for word in made.stdout.split() if word.startswith("mem_"))


@pytest.fixture(scope="module")
def flooded(stack: Stack, neighbour_key: str) -> dict:
    """What the clients of the flood, a neighbour and a health probe saw in the same seconds."""
    stack.search("a train")  # the key is known, the model is loaded
    stack.call("GET", "/summary", Authorization=f"Bearer {neighbour_key}")
    refused = count_refused(stack)
    with ThreadPoolExecutor(4) as threads:
        flood = threads.submit(run_flood, stack.port, [make_client(stack.key, n) for n in range(CLIENTS)], SECONDS)
        bodiless = threads.submit(ask_until_refused, stack, "", SECONDS)
        waiting = threads.submit(ask_until_refused, stack, "Expect: 100-continue\r\n", SECONDS)
        wait_until(lambda: count_refused(stack) > refused, 60, "the flood is refused")
        neighbour = threads.submit(ask_in_turn, stack, neighbour_key, flood)
        live, ready = stack.page("/health/live").status, stack.page("/health/ready").status
        load = read_load(stack)
        return {
            "flood": flood.result(),
            "neighbour": neighbour.result(),
            "refusals": [bodiless.result(), waiting.result()],
            "probes": (live, ready),
            "load": load,
        }


def read_load(stack: Stack) -> str:
    components = stack.page("/health", stack.key).json()["components"]
    return next(each["message"] for each in components if each["name"] == "requests")


def count_refused(stack: Stack) -> int:
    """Return how many requests were refused since the web server started."""
    return int(re.search(r"([\d,]+) refused", read_load(stack))[1].replace(",", ""))


def make_client(token: str, number: int):
    """A client that lists and searches; every fiftieth sends bodies of some megabytes that the API refuses."""
    if number % EVERY_LARGE == 0:
        large = build_request("POST", "/memories/search", token, {"query": "x" * LARGE_BODY_BYTES})
        return lambda turn: large
    requests = (
        build_request("GET", "/memories?limit=5", token),
        build_request("POST", "/memories/search", token, {"query": f"which train did agent {number} see"}),
    )
    return lambda turn: requests[(number + turn) % 2]


def ask_in_turn(stack: Stack, key: str, flood: Future) -> list[tuple[int, float]]:
    """Status and seconds of one request after the other, at least one, until the flood ends."""
    seen: list[tuple[int, float]] = []
    while not (seen and flood.done()):
        started = time.monotonic()
        status = stack.call("GET", "/memories?limit=5", Authorization=f"Bearer {key}").status
        seen.append((status, time.monotonic() - started))
    return seen


def ask_until_refused(stack: Stack, header: str, seconds: float) -> str:
    """The first 503 for a client that announces a body of five megabytes and sends none; empty if there was none."""
    head = f"POST /api/v1/memories HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {stack.key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {5 * 1024 * 1024}\r\n{header}\r\n"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", stack.port), timeout=1) as client:
            client.sendall(head.encode())
            answer = client.recv(65_536).decode()
            if answer.startswith("HTTP/1.1 503"):
                return answer
        time.sleep(0.05)
    return ""


def test_clients_see_answers_or_503_and_nothing_else(flooded, measured):
    flood: Answers = flooded["flood"]
    measured(f"{flood.statuses.total()} answers to {CLIENTS} clients: {dict(flood.statuses)}", SECONDS)
    assert not flood.errors
    assert set(flood.statuses) <= {200, 422, 503}
    assert flood.statuses[200] > 0
    assert flood.statuses[422] > 0
    assert flood.statuses[503] > 0
    assert all(1 <= seconds <= 10 for seconds in flood.retry_after)


def test_a_refused_client_keeps_its_connection(flooded):
    assert flooded["flood"].connections == CLIENTS


def test_no_client_waits_without_bound(flooded):
    """One that did would be among the errors, after a minute."""
    flood: Answers = flooded["flood"]
    assert not flood.errors
    assert max(flood.served_seconds + flood.refused_seconds) < ANSWER_TIMEOUT_SECONDS


def test_another_namespace_is_never_refused_and_waits_much_less(flooded, measured):
    statuses = {status for status, _ in flooded["neighbour"]}
    waits = [seconds for _, seconds in flooded["neighbour"]]
    measured(f"{len(waits)} answers to a neighbour: median", statistics.median(waits))
    assert statuses == {200}
    assert statistics.median(waits) < statistics.median(flooded["flood"].served_seconds) / 4


def test_a_refused_request_is_answered_before_its_body_arrives(flooded):
    for refusal in flooded["refusals"]:
        assert "retry-after: " in refusal.lower()
        assert "application/problem+json" in refusal


def test_health_is_told_and_never_refused(flooded):
    assert flooded["probes"] == (200, 200)
    assert " 0 refused" not in flooded["load"]


def test_afterwards_all_places_are_free(stack, flooded):
    with ThreadPoolExecutor(16) as threads:
        barrier = threading.Barrier(16)
        list(threads.map(lambda _: (barrier.wait(), stack.summary()), range(16)))
    # A client has its answer a moment before the server counts the place as free.
    wait_until(lambda: read_load(stack).startswith("0 served now, 0 wait;"), 60, "all places are free")
