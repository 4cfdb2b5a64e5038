"""Versions of memories, and parts of deleted ones. Like that of every divided table, the key begins with the namespace."""

from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Now

from memories.history.trigger_sql import FIRST_COLUMNS, keep_columns, keep_parts
from memory_site.core.db.migrations import foreign_key

VERSIONS, PARTS = "history_memoryversion", "history_deletedpart"


def namespace() -> models.ForeignKey:
    return models.ForeignKey(
        "sessions_app.namespace", models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )


def key() -> models.UUIDField:
    return models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False, serialize=False)


def complete_table(table: str) -> list[migrations.RunSQL]:
    return [
        migrations.RunSQL(
            f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD PRIMARY KEY (namespace_id, id)",
            migrations.RunSQL.noop,
        ),
        foreign_key(table, "namespace_id", "sessions_app_namespace"),
    ]


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("sessions_app", "0012_erased_namespaces"),
        ("memories", "0015_embedding_queued_at"),
        ("graph", "0008_functions_by_namespace"),
        ("insights", "0005_drop_functions"),
        ("ingestion", "0010_figures_of_measurements"),
    ]
    operations = [
        migrations.CreateModel(
            "MemoryVersion",
            [
                ("namespace", namespace()),
                ("id", key()),
                ("memory_id", models.UUIDField()),
                ("user_id", models.CharField("user", max_length=255, null=True)),
                ("operation", models.CharField(max_length=6, choices=[("update", "changed"), ("delete", "deleted")])),
                ("row", models.JSONField()),
                ("expires_at", models.DateTimeField(null=True)),
                ("changed_at", models.DateTimeField(db_default=Now())),
                ("changed_by", models.TextField()),
                ("request_id", models.TextField(db_default="")),
                ("job_id", models.UUIDField(null=True)),
            ],
            {
                "indexes": [
                    models.Index(F("namespace"), F("memory_id"), F("changed_at"), name="version_of_memory"),
                    models.Index(F("namespace"), F("changed_at"), F("id"), name="version_newest"),
                    models.Index(F("changed_at"), F("id"), name="version_newest_of_all"),
                    models.Index(
                        F("namespace"), F("user_id"), name="version_of_user", condition=Q(user_id__isnull=False)
                    ),
                    models.Index(
                        F("namespace"),
                        F("job_id"),
                        F("memory_id"),
                        name="version_of_job",
                        condition=Q(job_id__isnull=False),
                    ),
                    models.Index(
                        F("namespace"),
                        F("expires_at"),
                        name="version_expiring",
                        condition=Q(expires_at__isnull=False),
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            "DeletedPart",
            [
                ("namespace", namespace()),
                ("id", key()),
                ("memory_id", models.UUIDField()),
                ("other_memory_id", models.UUIDField(null=True)),
                ("user_id", models.CharField("user", max_length=255, null=True)),
                ("kind", models.CharField(max_length=32)),
                ("row", models.JSONField()),
                ("deleted_at", models.DateTimeField(db_default=Now())),
            ],
            {
                "indexes": [
                    models.Index(F("namespace"), F("memory_id"), name="part_of_memory"),
                    models.Index(
                        F("namespace"),
                        F("other_memory_id"),
                        name="part_of_other_memory",
                        condition=Q(other_memory_id__isnull=False),
                    ),
                    models.Index(F("namespace"), F("user_id"), name="part_of_user", condition=Q(user_id__isnull=False)),
                    models.Index(F("namespace"), F("deleted_at"), name="part_oldest"),
                ],
            },
        ),
        *complete_table(VERSIONS),
        *complete_table(PARTS),
        keep_columns(FIRST_COLUMNS),
        keep_parts(),
    ]
