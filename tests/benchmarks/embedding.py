"""Texts through the worker's own code, against the same texts through the model alone."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

from django.db import connections
from rich.table import Table

from memories.add import add_many
from memories.embeddings import get_embedder
from memories.models import DueEmbedding
from memories.schemas import MemoryIn
from memories.tasks import embed_due
from memory_site.operations.demo_data import MEMORIES
from sessions_app.models import Namespace

TURNS = 4


def measure_throughput(count: int) -> Table:
    """Model and worker take turns, once what others have left to do is done."""
    texts, embedder = generate_texts(count), get_embedder()
    embed_due()
    title = f"embedding of {count} texts, texts per second"
    table = Table("turn", "model alone", "with queue and vectors kept", "share", title=title)
    for turn in range(TURNS):
        alone = measure_rate(count, lambda: embedder.embed(texts))
        add_all(Namespace.objects.create(name=f"embedding benchmark {turn}"), texts)
        worker = measure_rate(count, embed_with_two_workers)
        left = DueEmbedding.objects.count()
        share = f"{worker / alone:.2f}" + (f" ({left} left)" if left else "")
        table.add_row(str(turn + 1), f"{alone:.0f}", f"{worker:.0f}", share)
    return table


def add_all(namespace: Namespace, texts: list[str]) -> None:
    for start in range(0, len(texts), 1000):
        part = [MemoryIn(content=text) for text in texts[start : start + 1000]]
        add_many(namespace.pk, part, get_embedder().model)


def embed_with_two_workers() -> None:
    """As in a worker: the second thread is rung for when there is much to do."""
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(embed_due_and_close) for _ in range(2)]:
            done.result()


def embed_due_and_close() -> None:
    try:
        embed_due()
    finally:
        connections.close_all()


def generate_texts(count: int) -> list[str]:
    """One to a dozen sentences each, no two the same."""
    choose = random.Random(11)
    return [f"{number}. " + " ".join(choose.sample(MEMORIES, choose.randint(1, 12))) for number in range(count)]


def measure_rate(count: int, work) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)
