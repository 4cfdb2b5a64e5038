"""What is known of texts, and near duplicates. Like that of every divided table, the key begins with the namespace."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Now

from memory_site.core.db.migrations import foreign_key, namespaced_foreign_key, validate_constraint

TABLES = ("cleanup_inspection", "cleanup_duplicate")


def namespace() -> models.ForeignKey:
    return models.ForeignKey(
        "sessions_app.namespace", models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )


def memory(related_name: str) -> models.OneToOneField:
    return models.OneToOneField(
        "memories.memory",
        django.db.models.deletion.DO_NOTHING,
        db_constraint=False,
        primary_key=True,
        related_name=related_name,
        serialize=False,
    )


def complete_table(table: str) -> list[migrations.RunSQL]:
    return [
        migrations.RunSQL(
            f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD PRIMARY KEY (namespace_id, memory_id)",
            migrations.RunSQL.noop,
        ),
        foreign_key(table, "namespace_id", "sessions_app_namespace"),
        namespaced_foreign_key(table, "memory_id", "memories_memory", "CASCADE"),
        validate_constraint(table, f"{table}_memory_id_cascade"),
    ]


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("sessions_app", "0012_erased_namespaces"),
        ("memories", "0016_memory_state"),
        ("ingestion", "0010_figures_of_measurements"),
    ]
    operations = [
        migrations.CreateModel(
            "Inspection",
            [
                ("namespace", namespace()),
                ("memory", memory("inspection")),
                (
                    "memory_updated_at",
                    models.DateTimeField(help_text="The memory's time of change when it was looked at."),
                ),
                ("characters", models.IntegerField()),
                (
                    "secrets",
                    django.contrib.postgres.fields.ArrayField(models.CharField(max_length=32), default=list, size=None),
                ),
                ("bands", models.BinaryField(null=True)),
            ],
            {
                "indexes": [
                    models.Index(F("namespace"), F("characters"), name="inspection_length"),
                    models.Index(F("namespace"), name="inspection_with_secrets", condition=~Q(secrets=[])),
                ],
            },
        ),
        migrations.CreateModel(
            "Duplicate",
            [
                ("namespace", namespace()),
                ("memory", memory("duplicate")),
                ("winner_id", models.UUIDField()),
                ("similarity", models.FloatField()),
                ("dismissed", models.BooleanField(db_default=False)),
                ("found_at", models.DateTimeField(db_default=Now())),
            ],
            {
                "verbose_name": "near duplicate",
                "indexes": [models.Index(F("namespace"), F("winner_id"), name="duplicate_of_winner")],
            },
        ),
        *[operation for table in TABLES for operation in complete_table(table)],
    ]
