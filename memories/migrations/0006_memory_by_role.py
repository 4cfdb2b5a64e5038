"""The same text said by the user and by the assistant is two memories: the role, in a memory's metadata, is part of the
unique key. A text without a role counts as the user's: so messages meet the memories that were made of them before. The new index is built beside the old one, without a lock that would stop writers."""

from django.db import migrations, models
from django.db.models import Func, Q

ROLE_SQL = """
CREATE OR REPLACE FUNCTION memories_role(metadata jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN metadata ->> 'role' IN ('assistant', 'system', 'tool') THEN metadata ->> 'role' END;
"""
# The first statement is for a second try: a build that was interrupted leaves an invalid index.
INDEX_SQL = [
    "DROP INDEX CONCURRENTLY IF EXISTS memory_is_kept_once_by_role",
    """
    CREATE UNIQUE INDEX CONCURRENTLY memory_is_kept_once_by_role ON memories_memory
    (namespace_id, memory_type, user_id, content_hash, document_id, memories_role(metadata))
    NULLS NOT DISTINCT WHERE entity_id IS NULL
    """,
    "DROP INDEX CONCURRENTLY IF EXISTS memory_is_kept_once",
    "ALTER INDEX memory_is_kept_once_by_role RENAME TO memory_is_kept_once",
]


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("memories", "0005_last_seen")]
    operations = [
        migrations.RunSQL(ROLE_SQL),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(INDEX_SQL)],
            state_operations=[
                migrations.RemoveConstraint("memory", "memory_is_kept_once"),
                migrations.AddConstraint(
                    "memory",
                    models.UniqueConstraint(
                        "namespace",
                        "memory_type",
                        "user_id",
                        "content_hash",
                        "document_id",
                        Func("metadata", function="memories_role"),
                        condition=Q(entity_id=None),
                        nulls_distinct=False,
                        name="memory_is_kept_once",
                    ),
                ),
            ],
        ),
    ]
