"""References that PostgreSQL follows by itself, and a check that Django cannot express."""

from django.db import migrations

from memory_site.core.db.migrations import foreign_key

HISTORY_IS_AN_ARRAY_SQL = """
ALTER TABLE sessions_app_sessionmemory
ADD CONSTRAINT session_history_is_an_array CHECK (jsonb_typeof(history) = 'array')
"""
DROP_HISTORY_IS_AN_ARRAY_SQL = "ALTER TABLE sessions_app_sessionmemory DROP CONSTRAINT session_history_is_an_array"


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0002_functions")]
    operations = [
        migrations.RunSQL(HISTORY_IS_AN_ARRAY_SQL, DROP_HISTORY_IS_AN_ARRAY_SQL),
        foreign_key("sessions_app_sessionmemory", "namespace_id", "sessions_app_namespace"),
        foreign_key("sessions_app_sessionlink", "namespace_id", "sessions_app_namespace"),
        foreign_key("sessions_app_conversation", "namespace_id", "sessions_app_namespace"),
        foreign_key("sessions_app_message", "conversation_id", "sessions_app_conversation"),
    ]
