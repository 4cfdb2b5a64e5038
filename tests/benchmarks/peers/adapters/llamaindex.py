"""LlamaIndex' PGVectorStore with the HNSW settings of its documentation; users and topics as metadata."""

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.vector_stores.postgres import PGVectorStore

from tests.benchmarks.peers.rows import Row, Rows, Wanted, parse_number

PACKAGES = ["llama-index-vector-stores-postgres"]
HNSW = {"hnsw_m": 16, "hnsw_ef_construction": 64, "hnsw_ef_search": 40, "hnsw_dist_method": "vector_cosine_ops"}


class Peer:
    def __init__(self, rows: Rows, url: str) -> None:
        self.rows = rows
        self.store = PGVectorStore(
            connection_string=url.replace("postgresql://", "postgresql+psycopg2://"),
            async_connection_string=url.replace("postgresql://", "postgresql+asyncpg://"),
            table_name="memories",
            schema_name="public",
            embed_dim=rows.dimensions,
            use_jsonb=True,
            hnsw_kwargs=HNSW,
        )

    def write_one(self, row: Row) -> None:
        self.write_many([row])

    def write_many(self, rows: list[Row]) -> None:
        self.store.add([
            TextNode(text=row.text, embedding=row.vector, metadata={"user_id": row.user, "topic": row.topic})
            for row in rows
        ])  # fmt: skip

    def search(self, wanted: Wanted, limit: int) -> list[int]:
        labels = {"user_id": wanted.user, "topic": wanted.topic}
        filters = MetadataFilters(filters=[MetadataFilter(key=k, value=v) for k, v in labels.items() if v])
        query = VectorStoreQuery(
            query_embedding=self.rows.query_vector(wanted),
            similarity_top_k=limit,
            filters=filters if filters.filters else None,
        )
        return [parse_number(node.get_content()) for node in self.store.query(query).nodes]

    def close(self) -> None:
        pass
