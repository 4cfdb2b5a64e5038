"""The whole benchmark: a server of its own, data, arms, recall, embedding."""

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import django

django.setup()

from django.conf import settings  # noqa: E402  (the models need django.setup)
from rich.console import Console  # noqa: E402

from memories.embeddings import get_embedder  # noqa: E402
from memory_site.embedded.running_site import is_live  # noqa: E402
from sessions_app.models import ApiKey, Namespace  # noqa: E402
from tests.benchmarks.arms import measure  # noqa: E402
from tests.benchmarks.data import Synthetic, load  # noqa: E402
from tests.benchmarks.embedding import measure_throughput  # noqa: E402
from tests.benchmarks.graph import build_graph_operations  # noqa: E402
from tests.benchmarks.imports import measure_imports  # noqa: E402
from tests.benchmarks.insights import build_insight_operations  # noqa: E402
from tests.benchmarks.memories import build_memory_operations  # noqa: E402
from tests.benchmarks.recall import measure_recall  # noqa: E402
from tests.benchmarks.sessions import SESSIONS, build_session_operations, insert_sessions, measure_wal_bytes  # noqa: E402
from tests.benchmarks.users import build_user_operations  # noqa: E402

console = Console(width=140)


def run_benchmarks(arguments: argparse.Namespace) -> None:
    with run_server() as (url, pid):
        namespace = Namespace.objects.create(name="benchmark")
        _, token = ApiKey.objects.issue(namespace)
        data = Synthetic(arguments.rows)
        model = get_embedder().model
        load(namespace, data, model)
        insert_sessions(namespace)
        operations = [*build_memory_operations(namespace, data, model), *build_graph_operations(namespace, data, model)]
        operations += [*build_user_operations(namespace, data, model), *build_session_operations(namespace)]
        operations += build_insight_operations(namespace, data, model)
        title = f"{data.rows:,} memories, {SESSIONS:,} sessions"
        console.print(measure(operations, title, url, token, pid, arguments.rounds))
        console.print(measure_wal_bytes(namespace))
        console.print(measure_recall(namespace, data, model, arguments.searches))
        console.print(measure_throughput(arguments.texts))
        console.print(measure_imports(arguments.imported, model))


@contextmanager
def run_server() -> Iterator[tuple[str, int]]:
    """The product as its users start it, without a worker: its address and the supervisor's process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "manage.py", "serve", "--no-worker", "--port", str(port)]
    process = subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_live(process, url)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(30)


def wait_until_live(process: subprocess.Popen, url: str) -> None:
    until = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < until:
        if is_live(url):
            return
        time.sleep(0.1)
    sys.exit("The server did not start.")
