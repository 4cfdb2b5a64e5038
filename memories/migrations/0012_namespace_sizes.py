"""How many memories each namespace has, for searches."""

import django.db.models.deletion
from django.db import migrations, models

from memory_site.core.db.migrations import foreign_key


class Migration(migrations.Migration):
    dependencies = [
        ("memories", "0011_triggers_by_namespace"),
        ("sessions_app", "0008_locking_functions"),
    ]
    operations = [
        migrations.CreateModel(
            name="NamespaceSize",
            fields=[
                (
                    "namespace",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="sessions_app.namespace",
                    ),
                ),
                ("memories", models.PositiveIntegerField()),
                ("memories_in_index", models.PositiveBigIntegerField()),
            ],
        ),
        foreign_key("memories_namespacesize", "namespace_id", "sessions_app_namespace"),
    ]
