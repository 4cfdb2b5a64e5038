"""Measurements of performance. Like that of every divided table, the key begins with the namespace."""

from django.db import migrations, models
from django.db.models import F
from django.db.models.functions import Now

from memory_site.core.db.ids import uuid7
from memory_site.core.db.migrations import foreign_key

TABLE = "ingestion_performancemetric"


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0008_check_references"), ("sessions_app", "0011_random_namespace_ids")]
    operations = [
        migrations.CreateModel(
            "PerformanceMetric",
            [
                (
                    "namespace",
                    models.ForeignKey(
                        "sessions_app.namespace",
                        models.DO_NOTHING,
                        db_constraint=False,
                        db_index=False,
                        related_name="+",
                    ),
                ),
                ("id", models.UUIDField(primary_key=True, default=uuid7, editable=False, serialize=False)),
                ("component", models.CharField(max_length=255, help_text="What was measured.")),
                ("metric_type", models.CharField("type", max_length=255)),
                ("metrics", models.JSONField(default=dict)),
                ("timestamp", models.DateTimeField("measured", db_default=Now())),
            ],
            {"verbose_name": "measurement"},
        ),
        migrations.AddIndex(
            "PerformanceMetric",
            models.Index(
                F("namespace"), F("component"), F("timestamp").desc(), F("id").desc(), name="metric_of_component"
            ),
        ),
        migrations.AddIndex(
            "PerformanceMetric",
            models.Index(F("namespace"), F("timestamp").desc(), F("id").desc(), name="metric_newest"),
        ),
        migrations.AddIndex(
            "PerformanceMetric", models.Index(F("timestamp").desc(), F("id").desc(), name="metric_newest_of_all")
        ),
        migrations.RunSQL(
            f"ALTER TABLE {TABLE} DROP CONSTRAINT {TABLE}_pkey, ADD PRIMARY KEY (namespace_id, id)",
            migrations.RunSQL.noop,
        ),
        foreign_key(TABLE, "namespace_id", "sessions_app_namespace"),
    ]
