"""This product's functions, called in the process like a library: no web server, no authentication."""

import os

import django

from tests.benchmarks.peers.rows import Row, Rows, Wanted, parse_number

os.environ["DJANGO_SETTINGS_MODULE"] = "memory_site.settings"
django.setup()

from memories.add import add_many, add_one  # noqa: E402  (the models need django.setup)
from memories.embeddings import get_embedder  # noqa: E402
from memories.schemas import MemoryIn  # noqa: E402
from memories.search.execute import find_memories  # noqa: E402
from memories.search.filters import Filters  # noqa: E402
from memories.search.query import Search  # noqa: E402

PACKAGES: list[str] = []


class Peer:
    def __init__(self, rows: Rows, namespace: int) -> None:
        self.rows, self.namespace, self.model = rows, namespace, get_embedder().model

    def write_one(self, row: Row) -> None:
        add_one(self.namespace, make_memory(row), self.model)

    def write_many(self, rows: list[Row]) -> None:
        add_many(self.namespace, [make_memory(row) for row in rows], self.model)

    def search(self, wanted: Wanted, limit: int) -> list[int]:
        filters = Filters(user_id=wanted.user, metadata=wanted.topic and {"topic": wanted.topic})
        search = Search(None, self.rows.query_vector(wanted), self.model, limit)
        hits = find_memories(self.namespace, filters, search)
        return [parse_number(hit["memory"]["content"]) for hit in hits]

    def close(self) -> None:
        pass


def make_memory(row: Row) -> MemoryIn:
    return MemoryIn(content=row.text, user_id=row.user, metadata={"topic": row.topic}, vector=row.vector)
