"""Two hundred agents at once, each on a persistent connection. A slow machine may ask some to come back."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import urllib3

CLIENTS, ROUNDS = 200, 10


def run_client(stack, number, start):
    """Ten requests over one connection: store, search, get, again and again. What was not right."""
    wrong = []
    headers = {"Authorization": f"Bearer {stack.key}"}
    with urllib3.HTTPConnectionPool("127.0.0.1", stack.port, maxsize=1, retries=False, headers=headers) as pool:
        pk = None
        start.wait(200)
        for at in range(ROUNDS):
            method, path, body, expected = (
                ("POST", "/memories", {"content": f"Agent {number} saw train {at}."}, 201),
                ("POST", "/memories/search", {"query": f"which train did agent {number} see"}, 200),
                ("GET", f"/memories/{pk}", None, 200),
            )[at % 3]
            answer = send(pool, method, f"/api/v1{path}", body)
            if answer.status != expected:
                wrong.append((method, path, answer.status, answer.data[:200]))
            pk = answer.json()["id"] if expected == 201 else pk
        if pool.num_connections != 1:
            wrong.append(f"{pool.num_connections} connections")
    return wrong


def send(pool, method, path, body):
    """Send again when the server is too busy and says when to come back."""
    while (answer := pool.request(method, path, json=body, timeout=120)).status == 503:
        time.sleep(int(answer.headers["Retry-After"]))
    return answer


def test_nobody_sees_an_error(stack, measured):
    start = threading.Barrier(CLIENTS)
    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as threads:
        wrong = [each for found in threads.map(lambda n: run_client(stack, n, start), range(CLIENTS)) for each in found]
    measured(f"{CLIENTS * ROUNDS} requests of {CLIENTS} clients", time.monotonic() - started)
    assert wrong == []
