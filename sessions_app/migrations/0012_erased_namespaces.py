"""Which namespaces were deleted or emptied, so that an earlier backup does not bring their rows back."""

from django.db import migrations, models
from django.db.models.functions import Now

import memory_site.core.db.ids


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0011_random_namespace_ids")]
    operations = [
        migrations.CreateModel(
            name="ErasedNamespace",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memory_site.core.db.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("erased_id", models.BigIntegerField(editable=False, help_text="The id of the namespace.")),
                ("deleted", models.BooleanField(help_text="Whether the namespace went too, with its API keys.")),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
        ),
    ]
