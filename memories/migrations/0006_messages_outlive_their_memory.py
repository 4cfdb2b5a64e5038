from django.db import migrations

from memory_site.core.db.migrations import foreign_key


class Migration(migrations.Migration):
    dependencies = [
        ("memories", "0005_new_content_is_due"),
        ("sessions_app", "0003_sessions_and_conversations"),
    ]
    operations = [foreign_key("sessions_app_message", "memory_id", "memories_memory", "SET NULL")]
