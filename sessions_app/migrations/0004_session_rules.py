from django.db import migrations

from memory_site.core.db.migrations import foreign_key

IS_AN_ARRAY = """
ALTER TABLE sessions_app_sessionmemory
ADD CONSTRAINT session_history_is_an_array CHECK (jsonb_typeof(history) = 'array')
"""
IS_ANYTHING = "ALTER TABLE sessions_app_sessionmemory DROP CONSTRAINT session_history_is_an_array"


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0003_sessions_and_conversations")]
    operations = [
        migrations.RunSQL(IS_AN_ARRAY, IS_ANYTHING),
        *[
            foreign_key(f"sessions_app_{table}", "namespace_id", "sessions_app_namespace")
            for table in ("sessionmemory", "sessionlink", "conversation")
        ],
        foreign_key("sessions_app_message", "conversation_id", "sessions_app_conversation"),
    ]
