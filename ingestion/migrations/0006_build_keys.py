"""The primary key of every table that is divided by namespace begins with the namespace, and so do the references.

Here for all apps, because a key can only change together with the references to it; the app `ingestion` comes last.
Three steps, so that a store full of data is locked for a moment only: build the indexes (0006_build_keys), change the
keys (0007_change_keys), check that the references hold (0008_check_references).
"""

from django.db import migrations

from memory_site.core.db.migrations import build_unique_index

#: The earlier primary key of each table.
KEYS = {
    **dict.fromkeys(
        (
            "graph_erasure",
            "graph_pendingrelationship",
            "graph_relationship",
            "graph_usertotal",
            "ingestion_document",
            "ingestion_ingestion",
            "ingestion_workflowexecution",
            "insights_projectdependency",
            "insights_projectgroup",
            "knowledge_cluster",
            "knowledge_duecluster",
            "knowledge_pattern",
            "knowledge_preference",
            "memories_memory",
            "memories_reembedding",
            "sessions_app_conversation",
            "sessions_app_idempotentanswer",
            "sessions_app_message",
            "sessions_app_sessionlink",
            "sessions_app_sessionmemory",
        ),
        ("id",),
    ),
    "insights_insight": ("memory_id",),
    "memories_dueembedding": ("memory_id",),
    "memories_embedding": ("memory_id", "model"),
}


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [
        ("ingestion", "0005_namespace_in_keys"),
        ("sessions_app", "0011_random_namespace_ids"),
        ("memories", "0010_namespace_in_keys"),
        ("graph", "0007_namespace_in_keys"),
        ("insights", "0004_namespace_in_keys"),
        ("knowledge", "0007_namespace_in_keys"),
    ]
    operations = [
        build_unique_index(table, f"{table}_pkey", ("namespace_id", *columns)) for table, columns in KEYS.items()
    ]
