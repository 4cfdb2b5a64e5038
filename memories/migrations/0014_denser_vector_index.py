"""The index of the vectors is built with twice the candidates.

New vectors find better neighbours at once; those that are indexed already do with the next rebuild (`vacuum_vectors`),
because building the index takes minutes for each million vectors and a migration should not.
"""

import pgvector.django
from django.db import migrations

# Only leaves can be altered: those of the table itself, or those of its partitions.
SET_CANDIDATES = """
DO $$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN
        SELECT pg_class.oid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
        WHERE indrelid IN (
            SELECT 'memories_embedding'::regclass UNION SELECT relid FROM pg_partition_tree('memories_embedding')
        ) AND amname = 'hnsw' AND relkind = 'i'
    LOOP
        EXECUTE format('ALTER INDEX %s SET (ef_construction = {candidates})', leaf);
    END LOOP;
END $$"""


class Migration(migrations.Migration):
    dependencies = [("memories", "0013_expiring_of_namespace")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(SET_CANDIDATES.format(candidates=128), SET_CANDIDATES.format(candidates=64))
            ],
            state_operations=[
                migrations.RemoveIndex("embedding", "embedding_nearest"),
                migrations.AddIndex(
                    "embedding",
                    pgvector.django.HnswIndex(
                        name="embedding_nearest",
                        fields=["vector"],
                        m=16,
                        ef_construction=128,
                        opclasses=["halfvec_ip_ops"],
                    ),
                ),
            ],
        ),
    ]
