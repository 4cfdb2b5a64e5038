"""The index of the vectors as the database has it."""

from importlib import import_module

from django.db import connection

from memories.models import Embedding

SET_CANDIDATES = import_module("memories.migrations.0014_denser_vector_index").SET_CANDIDATES


def fetch_options(table: str) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reloptions FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam"
            " WHERE indrelid = %s::regclass AND amname = 'hnsw'",
            [table],
        )
        return dict(option.split("=") for option in cursor.fetchone()[0])


def test_database_and_model_agree_on_how_the_index_is_built(db):
    index = next(each for each in Embedding._meta.indexes if each.name == "embedding_nearest")
    options = {"m": str(index.m), "ef_construction": str(index.ef_construction)}
    assert options == {"m": "16", "ef_construction": "128"}
    assert fetch_options("memories_embedding") == options


def test_partitions_are_changed_too(db):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE memories_embedding RENAME TO earlier")
        cursor.execute("CREATE TABLE memories_embedding (LIKE earlier) PARTITION BY HASH (namespace_id)")
        cursor.execute("CREATE TABLE part PARTITION OF memories_embedding FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
        cursor.execute(
            "CREATE INDEX ON memories_embedding USING hnsw (vector halfvec_ip_ops) WITH (m=16, ef_construction=64)"
        )
        cursor.execute(SET_CANDIDATES.format(candidates=128))
    assert fetch_options("part") == {"m": "16", "ef_construction": "128"}
