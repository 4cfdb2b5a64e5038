from django.db import migrations

from memory_site.core.db.migrations import foreign_key


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0001_documents_and_ingestions"), ("memories", "0007_memory_document")]
    operations = [
        foreign_key("ingestion_document", "namespace_id", "sessions_app_namespace"),
        foreign_key("ingestion_ingestion", "namespace_id", "sessions_app_namespace"),
        foreign_key("memories_memory", "document_id", "ingestion_document"),
    ]
