"""Indexes for the foreign keys of messages begin with the namespace."""

from django.db import migrations, models
from django.db.models import F, Q

from memory_site.core.db.migrations import replace_index


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("sessions_app", "0009_namespace_of_answers")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                replace_index(
                    "sessions_app_message",
                    "message_newest",
                    "(namespace_id, conversation_id, created_at DESC, id DESC)",
                    "(conversation_id, created_at DESC, id DESC)",
                ),
                replace_index(
                    "sessions_app_message",
                    "message_memory",
                    "(namespace_id, memory_id) WHERE memory_id IS NOT NULL",
                    "(memory_id) WHERE memory_id IS NOT NULL",
                ),
            ],
            state_operations=[
                migrations.RemoveIndex("message", "message_newest"),
                migrations.RemoveIndex("message", "message_memory"),
                migrations.AddIndex(
                    "message",
                    models.Index(
                        F("namespace"),
                        F("conversation"),
                        F("created_at").desc(),
                        F("id").desc(),
                        name="message_newest",
                    ),
                ),
                migrations.AddIndex(
                    "message",
                    models.Index(
                        F("namespace"), F("memory_id"), condition=Q(memory_id__isnull=False), name="message_memory"
                    ),
                ),
            ],
        ),
    ]
