"""Synthetic memories at scale: clustered vectors, words by Zipf's law, owners of every size, filters of known share."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
from django.db import connection
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg.types.json import Jsonb

from memories.memory_types import MemoryType
from memories.models import DIMENSIONS, DueEmbedding, Embedding
from memories.namespace_sizes import measure_namespaces
from memory_site.core.db.ids import uuid7
from sessions_app.models import Namespace

CLUSTERS = 500
#: Text embeddings fill far fewer directions than they have numbers: vectors are drawn in this many, then turned.
LATENT_DIMENSIONS = 64
SPREAD, NOISE = 0.8, 0.3
VOCABULARY_SIZE = 20_000
WORDS_PER_MEMORY = 40
#: Share of the rows that carry metadata {"kept": share}, by name.
METADATA_SHARES = {"0.1 %": 0.001, "1 %": 0.01, "10 %": 0.1, "50 %": 0.5}
TYPES = [MemoryType.AGENT, MemoryType.CONVERSATION, MemoryType.RAG, MemoryType.TECHNICAL_KNOWLEDGE]
NEAREST_INDEX = next(index for index in Embedding._meta.indexes if index.name == "embedding_nearest")


class Synthetic:
    """`rows` memories of one namespace, the same for the same seed and part.

    The parts of one seed have other rows and the same clusters, so that a large set can be made piece by piece.
    """

    def __init__(self, rows: int, seed: int = 7, part: int = 0) -> None:
        self.rows, self.first = rows, part * rows
        space, self.random = np.random.default_rng(seed), np.random.default_rng((seed, part))
        self.turn = space.standard_normal((LATENT_DIMENSIONS, DIMENSIONS), dtype=np.float32) / np.sqrt(DIMENSIONS)
        self.centres = space.standard_normal((CLUSTERS, LATENT_DIMENSIONS), dtype=np.float32)
        # Zipf with exponent 1 over the vocabulary: a few words stand in most memories, most words in few.
        weights = 1 / np.arange(1, VOCABULARY_SIZE + 1)
        self.words = self.random.choice(VOCABULARY_SIZE, size=(rows, WORDS_PER_MEMORY), p=weights / weights.sum())
        self.users = np.minimum(self.random.zipf(1.5, rows), 5000)
        self.draws = self.random.random((rows, len(METADATA_SHARES)))

    def vectors(self, count: int) -> np.ndarray:
        """(count, 768) float32 unit vectors around the centres."""
        latent = self.centres[self.random.integers(0, CLUSTERS, count)]
        latent = latent + SPREAD * self.random.standard_normal((count, LATENT_DIMENSIONS), dtype=np.float32)
        noise = self.random.standard_normal((count, DIMENSIONS), dtype=np.float32)
        return normalize(latent @ self.turn + NOISE * np.sqrt(LATENT_DIMENSIONS / DIMENSIONS) * noise)

    def query(self, row: int, words: int = 4) -> str:
        """A few words of one memory, the rarer half."""
        return " ".join(build_word(number) for number in sorted(self.words[row])[-words * 2 :: 2])

    def content(self, row: int) -> str:
        return f"{self.first + row} " + " ".join(build_word(number) for number in self.words[row])

    def metadata(self, row: int) -> dict:
        kept = [
            name
            for name, share, draw in zip(METADATA_SHARES, METADATA_SHARES.values(), self.draws[row], strict=True)
            if draw < share
        ]
        return {"kept": kept, "row": self.first + row}


@cache
def build_word(number: int) -> str:
    """A pronounceable word for a number; different numbers give different words and stems."""
    syllables = ["ka", "lo", "mi", "nu", "ra", "se", "ti", "vo", "wa", "xu"]
    return "".join(syllables[int(digit)] for digit in f"{number:05d}") + "q"


def normalize(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def load(namespace: Namespace, data: Synthetic, model: str) -> None:
    """Fill the tables by COPY, the nearest-neighbour index built afterwards. Prints what it is doing."""
    started = time.perf_counter()
    with connection.schema_editor() as editor:
        editor.remove_index(Embedding, NEAREST_INDEX)
    ids = [uuid7() for _ in range(data.rows)]
    copy_rows("memories_memory", MEMORY_COLUMNS, generate_memory_rows(namespace.pk, data, ids))
    copy_rows("memories_embedding", EMBEDDING_COLUMNS, generate_embedding_rows(namespace.pk, data, ids, model))
    DueEmbedding.objects.filter(memory__namespace=namespace).delete()
    print(f"{data.rows} memories copied in {time.perf_counter() - started:.0f} s", flush=True)
    started = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET maintenance_work_mem = '1GB'")
    with connection.schema_editor() as editor:
        editor.add_index(Embedding, NEAREST_INDEX)
    print(f"index built in {time.perf_counter() - started:.0f} s", flush=True)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE memories_memory, memories_embedding, memories_dueembedding")
    measure_namespaces()


MEMORY_COLUMNS = {
    "id": "uuid",
    "namespace_id": "int8",
    "content": "text",
    "metadata": "jsonb",
    "memory_type": "varchar",
    "source_system": "varchar",
    "user_id": "varchar",
    "importance": "int2",
    "confidence": "float8",
    "tags": "varchar[]",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "access_count": "int4",
}
EMBEDDING_COLUMNS = {
    "memory_id": "uuid",
    "namespace_id": "int8",
    "user_id": "varchar",
    "memory_type": "varchar",
    "model": "varchar",
    "content_hash": "bytea",
    "vector": "halfvec",
}


def generate_memory_rows(namespace_id: int, data: Synthetic, ids: list) -> Iterator[tuple]:
    newest = datetime.now(UTC)
    for row, pk in enumerate(ids):
        moment = newest - timedelta(minutes=data.rows - row)
        yield (
            pk,
            namespace_id,
            data.content(row),
            Jsonb(data.metadata(row)),
            TYPES[row % len(TYPES)],
            "benchmark",
            f"user-{data.users[row]}",
            row % 5 + 1,
            1.0,
            [f"tag-{row % 20}"],
            moment,
            moment,
            0,
        )


def generate_embedding_rows(namespace_id: int, data: Synthetic, ids: list, model: str) -> Iterator[tuple]:
    for start in range(0, len(ids), 1000):
        part = ids[start : start + 1000]
        for offset, (pk, vector) in enumerate(zip(part, data.vectors(len(part)), strict=True)):
            row = start + offset
            yield (pk, namespace_id, f"user-{data.users[row]}", TYPES[row % len(TYPES)], model, b"", HalfVector(vector))


def copy_rows(table: str, columns: dict[str, str], rows: Iterator[tuple]) -> None:
    """COPY in binary: text would cost twenty times as much for vectors."""
    connection.ensure_connection()
    register_vector(connection.connection)
    with connection.cursor() as cursor:
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        with cursor.copy(statement) as into:
            into.set_types(list(columns.values()))
            for row in rows:
                into.write_row(row)
