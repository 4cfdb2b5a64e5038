"""Messages are listed across conversations."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("sessions_app", "0005_message_by_agent")]
    operations = [
        AddIndexConcurrently(
            "message",
            models.Index(F("namespace"), F("created_at").desc(), F("id").desc(), name="message_newest_of_namespace"),
        ),
    ]
