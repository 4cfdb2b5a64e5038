"""LangGraph's PostgresStore with its default HNSW index; the user is the namespace, the topic a filter."""

from langgraph.store.base import PutOp
from langgraph.store.postgres import PostgresStore

from tests.benchmarks.peers.rows import Row, Rows, Wanted, parse_number

PACKAGES = ["langgraph-checkpoint-postgres"]


class Peer:
    def __init__(self, rows: Rows, url: str) -> None:
        index = {
            "dims": rows.dimensions,
            "embed": lambda texts: [rows.embed(text) for text in texts],
            "fields": ["text"],
        }
        self.opened = PostgresStore.from_conn_string(url, index=index)
        self.store = self.opened.__enter__()
        self.store.setup()

    def write_one(self, row: Row) -> None:
        self.store.put(("memories", row.user), str(row.number), {"text": row.text, "topic": row.topic})

    def write_many(self, rows: list[Row]) -> None:
        self.store.batch([
            PutOp(("memories", row.user), str(row.number), {"text": row.text, "topic": row.topic}) for row in rows
        ])  # fmt: skip

    def search(self, wanted: Wanted, limit: int) -> list[int]:
        namespace = ("memories", wanted.user) if wanted.user else ("memories",)
        topic = {"topic": wanted.topic} if wanted.topic else None
        found = self.store.search(namespace, query=wanted.text, filter=topic, limit=limit)
        return [parse_number(each.value["text"]) for each in found]

    def close(self) -> None:
        self.opened.__exit__(None, None, None)
