"""Texts through the worker's own code, against the same texts through the model alone."""

import random
import time

from rich.table import Table

from memories.add import add_many
from memories.embeddings import get_embedder
from memories.models import Memory
from memories.schemas import MemoryIn
from memories.tasks import embed_due
from memory_site.operations.demo_data import MEMORIES
from sessions_app.models import Namespace


def throughput(count: int) -> Table:
    texts, embedder = texts_of_all_lengths(count), get_embedder()
    embedder.embed(texts[:50])
    table = Table("texts", "model alone", "with queue and vectors kept", "share", title="embedding, texts per second")
    alone = rate(count, lambda: embedder.embed(texts))
    namespace = Namespace.objects.create(name="embedding benchmark")
    for start in range(0, count, 1000):
        add_many(namespace.pk, [MemoryIn(content=text) for text in texts[start : start + 1000]], embedder.model)
    worker = rate(count, embed_due)
    left = Memory.objects.filter(namespace=namespace).waiting().count()
    table.add_row(
        str(count), f"{alone:.0f}", f"{worker:.0f}", f"{worker / alone:.2f}" + (f" ({left} left)" if left else "")
    )
    return table


def texts_of_all_lengths(count: int) -> list[str]:
    """One to a dozen sentences each, no two the same."""
    choose = random.Random(11)
    return [f"{number}. " + " ".join(choose.sample(MEMORIES, choose.randint(1, 12))) for number in range(count)]


def rate(count: int, work) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)
