"""mem0 with its PostgreSQL store and its default HNSW index; `infer=False`, so no language model is called."""

import os
import tempfile
from typing import Any

os.environ["MEM0_TELEMETRY"] = "false"
os.environ.setdefault("MEM0_DIR", tempfile.mkdtemp(prefix="mem0-"))

from langchain_core.embeddings import Embeddings
from mem0 import Memory

from tests.benchmarks.peers.rows import Row, Rows, Wanted, parse_number

PACKAGES = ["mem0ai"]


class Lookup(Embeddings):
    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def embed_query(self, text: str) -> list[float]:
        return self.rows.embed(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.rows.embed(text) for text in texts]


class Peer:
    def __init__(self, rows: Rows, url: str) -> None:
        store = {"connection_string": url, "collection_name": "memories", "embedding_model_dims": rows.dimensions}
        self.memory = Memory.from_config({
            "vector_store": {"provider": "pgvector", "config": store},
            "embedder": {"provider": "langchain", "config": {"model": Lookup(rows)}},
            "llm": {"provider": "openai", "config": {"api_key": "never-called"}},
            "history_db_path": os.path.join(os.environ["MEM0_DIR"], "history.db"),
        })  # fmt: skip

    def write_one(self, row: Row) -> None:
        self.memory.add(row.text, user_id=row.user, metadata={"topic": row.topic}, infer=False)

    def search(self, wanted: Wanted, limit: int) -> list[int]:
        filters: dict[str, Any] = {"user_id": wanted.user} if wanted.user else {"user_id": "*"}
        if wanted.topic:
            filters["topic"] = wanted.topic
        found = self.memory.search(wanted.text, filters=filters, top_k=limit, threshold=0.0)
        return [parse_number(each["memory"]) for each in found["results"]]

    def close(self) -> None:
        pass
