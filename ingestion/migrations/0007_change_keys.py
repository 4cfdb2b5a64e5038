"""The second of three steps (0006_build_keys): change the keys and the references to them, under a lock."""

from importlib import import_module

from django.db import migrations

from memory_site.core.db.migrations import drop_foreign_key, namespaced_foreign_key, replace_unique

KEYS = import_module("ingestion.migrations.0006_build_keys").KEYS
#: Table, column, table that it references, and what happens when the row there is deleted.
REFERENCES = (
    ("ingestion_workflowexecution", "memory_id", "memories_memory", "SET NULL"),
    ("insights_insight", "conversation_id", "sessions_app_conversation", "SET NULL"),
    ("insights_insight", "memory_id", "memories_memory", "CASCADE"),
    ("insights_insight", "source_memory_id", "memories_memory", "SET NULL"),
    ("memories_dueembedding", "memory_id", "memories_memory", "CASCADE"),
    ("memories_embedding", "memory_id", "memories_memory", "CASCADE"),
    ("memories_memory", "document_id", "ingestion_document", "CASCADE"),
    ("sessions_app_message", "conversation_id", "sessions_app_conversation", "CASCADE"),
    ("sessions_app_message", "memory_id", "memories_memory", "SET NULL"),
)


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0006_build_keys")]
    operations = [
        *[drop_foreign_key(*reference) for reference in REFERENCES],
        *[replace_unique(table, f"{table}_pkey", "PRIMARY KEY", columns) for table, columns in KEYS.items()],
        *[namespaced_foreign_key(*reference) for reference in REFERENCES],
    ]
