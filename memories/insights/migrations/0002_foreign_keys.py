"""References that PostgreSQL follows by itself: an insight is deleted with its memory and outlives its sources."""

from django.db import migrations

from memory_site.core.db.migrations import foreign_key


class Migration(migrations.Migration):
    dependencies = [("insights", "0001_initial")]
    operations = [
        foreign_key("insights_insight", "memory_id", "memories_memory"),
        foreign_key("insights_insight", "source_memory_id", "memories_memory", "SET NULL"),
        foreign_key("insights_insight", "conversation_id", "sessions_app_conversation", "SET NULL"),
        foreign_key("insights_projectgroup", "namespace_id", "sessions_app_namespace"),
        foreign_key("insights_projectdependency", "namespace_id", "sessions_app_namespace"),
    ]
