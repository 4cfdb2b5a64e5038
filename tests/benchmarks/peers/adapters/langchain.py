"""langchain-postgres' PGVectorStore, users and topics as metadata columns; its HNSW index is made after loading."""

from langchain_core.embeddings import Embeddings
from langchain_postgres import Column, PGEngine, PGVectorStore
from langchain_postgres.v2.indexes import HNSWIndex

from tests.benchmarks.peers.rows import Row, Rows, Wanted, parse_number

PACKAGES = ["langchain-postgres"]


class Lookup(Embeddings):
    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def embed_query(self, text: str) -> list[float]:
        return self.rows.embed(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.rows.embed(text) for text in texts]


class Peer:
    def __init__(self, rows: Rows, url: str, *, index: bool) -> None:
        self.index = index
        self.engine = PGEngine.from_connection_string(url.replace("postgresql://", "postgresql+psycopg://"))
        columns = ["user_id", "topic"]
        self.engine.init_vectorstore_table(
            "memories", rows.dimensions, metadata_columns=[Column(name, "TEXT") for name in columns]
        )
        self.store = PGVectorStore.create_sync(self.engine, Lookup(rows), "memories", metadata_columns=columns)

    def write_one(self, row: Row) -> None:
        self.write_many([row])

    def write_many(self, rows: list[Row]) -> None:
        labels = [{"user_id": row.user, "topic": row.topic} for row in rows]
        self.store.add_texts([row.text for row in rows], metadatas=labels)

    def finish(self) -> None:
        if self.index:
            self.store.apply_vector_index(HNSWIndex())

    def search(self, wanted: Wanted, limit: int) -> list[int]:
        labels = {"user_id": wanted.user, "topic": wanted.topic}
        given = {name: value for name, value in labels.items() if value}
        found = self.store.similarity_search(wanted.text, k=limit, filter=given or None)
        return [parse_number(each.page_content) for each in found]

    def close(self) -> None:
        self.engine._run_as_sync(self.engine.close())
