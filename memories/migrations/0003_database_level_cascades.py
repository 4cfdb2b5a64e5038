from django.db import migrations

from memory_site.core.db.migrations import foreign_key


class Migration(migrations.Migration):
    dependencies = [("memories", "0002_memory_and_embedding")]
    operations = [
        foreign_key("memories_memory", "namespace_id", "sessions_app_namespace"),
        foreign_key("memories_embedding", "memory_id", "memories_memory"),
        foreign_key("memories_dueembedding", "memory_id", "memories_memory"),
    ]
