"""Messages are listed by agent."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("sessions_app", "0004_forgets_outdated")]
    operations = [
        AddIndexConcurrently(
            "message",
            models.Index(
                F("namespace"),
                F("agent_id"),
                F("created_at").desc(),
                F("id").desc(),
                name="message_by_agent",
                condition=Q(agent_id__isnull=False),
            ),
        ),
    ]
