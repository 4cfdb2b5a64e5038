"""What the process of one size measures: a few rounds of an operation, or recall under a filter."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import psycopg
import urllib3
from django.core.management import call_command
from django.db import connection
from psycopg.types.string import TextLoader

from memories.embeddings import get_embedder
from memories.namespace_sizes import measure_namespaces
from memory_site.embedded.running_site import ensure_services_for_command
from sessions_app.models import ApiKey, Namespace, SessionMemory
from tests.benchmarks.arms import Operation, connection_parameters, run_round
from tests.benchmarks.data import Synthetic
from tests.benchmarks.graph import build_graph_operations
from tests.benchmarks.growth.load import PART_ROWS, load
from tests.benchmarks.growth.recall import measure_recall
from tests.benchmarks.memories import build_memory_operations
from tests.benchmarks.run import run_server
from tests.benchmarks.sessions import build_session_operations, insert_sessions

#: Seed of the vectors that are searched for: none of them is stored.
QUERY_SEED, MAX_SEARCHES = 9, 1_000


def answer_requests(rows: int) -> None:
    """Load the rows, say so, then answer every request: {"operation", "start", "rounds"} or {"filter", "searches"}."""
    model = get_embedder().model
    namespace = prepare_rows(rows, model)
    with run_server() as (url, _), open_arms(namespace, url) as run:
        operations = build_operations(namespace, model)
        answer({"operations": list(operations)})
        for line in sys.stdin:
            request = json.loads(line)
            if "filter" in request:
                answer(recall_under(namespace, request, model))
            else:
                answer(run_rounds(operations[request["operation"]], request, run))


def prepare_rows(rows: int, model: str) -> Namespace:
    """Bring the data directory to this version, and load what it lacks."""
    with ensure_services_for_command():
        call_command("migrate", verbosity=0)
        namespace = load(rows, model)
        if not SessionMemory.objects.filter(namespace=namespace).exists():
            insert_sessions(namespace)
        measure_namespaces()  # as the scheduler does
        connection.close()
    return namespace


def answer(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


@contextmanager
def open_arms(namespace: Namespace, url: str) -> Iterator[Any]:
    """Yield run_round with the connections of its arms: `run(operation, number)`."""
    _, token = ApiKey.objects.issue(namespace)
    http = urllib3.PoolManager(headers={"Authorization": f"Bearer {token}"}, timeout=60)
    with psycopg.connect(**connection_parameters(), autocommit=True) as raw:
        raw.adapters.register_loader("jsonb", TextLoader)
        raw.prepare_threshold = None
        yield partial(run_round, raw=raw, http=http, url=url)


def build_operations(namespace: Namespace, model: str) -> dict[str, Operation]:
    """Return the operations by name, over the texts of the first thousand memories, which every size has."""
    data = Synthetic(PART_ROWS)
    data.random = np.random.default_rng(QUERY_SEED)
    operations = [
        *build_memory_operations(namespace, data, model),
        *(each for each in build_graph_operations(namespace, data, model) if each.name == "recall 20"),
        *build_session_operations(namespace),
    ]
    return {operation.name: operation for operation in operations}


def run_rounds(operation: Operation, request: dict[str, Any], run: Any) -> dict[str, list[float]]:
    """Return the milliseconds of each round, by arm."""
    for times in operation.times.values():
        times.clear()
    for number in range(request["start"], request["start"] + request["rounds"]):
        run(operation, number)
    return operation.times


def recall_under(namespace: Namespace, request: dict[str, Any], model: str) -> dict[str, float]:
    data = Synthetic(PART_ROWS)
    data.random = np.random.default_rng(QUERY_SEED)
    vectors = data.vectors(MAX_SEARCHES)[: request["searches"]]  # the same ones, however many
    return measure_recall(namespace.pk, request["filter"], vectors, model)
