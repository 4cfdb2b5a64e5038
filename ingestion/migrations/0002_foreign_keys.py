"""References that PostgreSQL follows by itself."""

from django.db import migrations

from memory_site.core.db.migrations import foreign_key


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0001_initial")]
    operations = [
        foreign_key("ingestion_document", "namespace_id", "sessions_app_namespace"),
        foreign_key("ingestion_ingestion", "namespace_id", "sessions_app_namespace"),
        # Here and not in memories, whose tables come first. A chunk is deleted with its document.
        foreign_key("memories_memory", "document_id", "ingestion_document"),
        foreign_key("ingestion_workflowexecution", "namespace_id", "sessions_app_namespace"),
        foreign_key("ingestion_workflowexecution", "memory_id", "memories_memory", "SET NULL"),
    ]
