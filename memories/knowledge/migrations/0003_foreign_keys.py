"""References that PostgreSQL follows by itself, and a check and an index that call our functions."""

from django.db import migrations

from memory_site.core.db.migrations import foreign_key

TAGS_ARE_IN_ORDER_SQL = """
ALTER TABLE knowledge_cluster
ADD CONSTRAINT cluster_tags_are_in_order CHECK (tags = knowledge_normalize_tags(tags))
"""
DROP_TAGS_ARE_IN_ORDER_SQL = "ALTER TABLE knowledge_cluster DROP CONSTRAINT cluster_tags_are_in_order"
# A cluster's memories, the newest first. By the GIN index of single tags a query would read every memory that has a
# common one.
MEMORY_BY_TAGS_SQL = """
CREATE INDEX memory_by_tags
ON memories_memory (namespace_id, memory_type, knowledge_tags_key(tags), created_at DESC, id DESC)
WHERE cardinality(tags) > 0
"""


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0002_initial"), ("memories", "0003_foreign_keys")]
    operations = [
        foreign_key("knowledge_cluster", "namespace_id", "sessions_app_namespace"),
        foreign_key("knowledge_duecluster", "namespace_id", "sessions_app_namespace"),
        foreign_key("knowledge_pattern", "namespace_id", "sessions_app_namespace"),
        foreign_key("knowledge_preference", "namespace_id", "sessions_app_namespace"),
        migrations.RunSQL(TAGS_ARE_IN_ORDER_SQL, DROP_TAGS_ARE_IN_ORDER_SQL),
        migrations.RunSQL(MEMORY_BY_TAGS_SQL, "DROP INDEX memory_by_tags"),
    ]
