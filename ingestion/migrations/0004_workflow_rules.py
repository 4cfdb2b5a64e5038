from django.db import migrations

from memory_site.core.db.migrations import foreign_key


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0003_workflow_executions"), ("memories", "0007_memory_document")]
    operations = [
        foreign_key("ingestion_workflowexecution", "namespace_id", "sessions_app_namespace"),
        foreign_key("ingestion_workflowexecution", "memory_id", "memories_memory", "SET NULL"),
    ]
