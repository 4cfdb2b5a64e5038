import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models

import memory_site.core.db.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [("memories", "0003_foreign_keys"), ("sessions_app", "0003_foreign_keys")]

    operations = [
        migrations.CreateModel(
            name="Insight",
            fields=[
                (
                    "namespace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="sessions_app.namespace",
                    ),
                ),
                (
                    "memory",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="insight",
                        serialize=False,
                        to="memories.memory",
                    ),
                ),
                (
                    "collection",
                    models.CharField(
                        choices=[("project", "Project"), ("global", "Global")], default="project", max_length=16
                    ),
                ),
                (
                    "insight_type",
                    models.CharField(
                        choices=[
                            ("pattern", "Pattern"),
                            ("architecture", "Architecture"),
                            ("best_practice", "Best Practice"),
                            ("gotcha", "Gotcha"),
                            ("general", "General"),
                        ],
                        default="general",
                        max_length=16,
                    ),
                ),
                (
                    "topics",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=255), blank=True, default=list, size=None
                    ),
                ),
                (
                    "projects",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=255), blank=True, default=list, size=None
                    ),
                ),
                ("quality", models.FloatField()),
                ("usage_count", models.PositiveIntegerField(db_default=0, editable=False)),
                ("last_used_at", models.DateTimeField(editable=False, null=True)),
                ("digest", models.BinaryField()),
                (
                    "bands",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), editable=False, size=None
                    ),
                ),
                (
                    "conversation",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="insights",
                        to="sessions_app.conversation",
                    ),
                ),
                (
                    "source_memory",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="insights",
                        to="memories.memory",
                    ),
                ),
            ],
            options={
                "indexes": [
                    django.contrib.postgres.indexes.GinIndex(models.F("bands"), fastupdate=False, name="insight_bands"),
                    django.contrib.postgres.indexes.GinIndex(
                        models.F("projects"), fastupdate=False, name="insight_projects"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("namespace", "digest"), name="insight_is_kept_once"),
                    models.CheckConstraint(
                        condition=models.Q(("collection__in", ["project", "global"])),
                        name="insight_collection_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("insight_type__in", ["pattern", "architecture", "best_practice", "gotcha", "general"])
                        ),
                        name="insight_type_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("quality__range", (0, 1))), name="insight_quality_is_0_to_1"
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(django.db.models.functions.text.Length("digest"), 32),
                        name="insight_digest_is_a_sha256",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ProjectDependency",
            fields=[
                (
                    "namespace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="sessions_app.namespace",
                    ),
                ),
                (
                    "id",
                    models.UUIDField(
                        default=memory_site.core.db.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("source_project", models.CharField(max_length=255)),
                ("target_project", models.CharField(max_length=255)),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("uses", "Uses"),
                            ("extends", "Extends"),
                            ("references", "References"),
                            ("shares_code", "Shares Code"),
                        ],
                        max_length=16,
                    ),
                ),
                ("description", models.TextField(blank=True)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("redacted_names", models.JSONField(db_default=models.Value({}, models.JSONField()), editable=False)),
            ],
            options={
                "verbose_name_plural": "project dependencies",
                "indexes": [models.Index(models.F("namespace"), models.F("target_project"), name="dependency_inbound")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("namespace", "source_project", "target_project", "type"), name="dependency_is_kept_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("source_project", models.F("target_project")), _negated=True),
                        name="dependency_is_on_another_project",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("type__in", ["uses", "extends", "references", "shares_code"])),
                        name="dependency_type_is_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ProjectGroup",
            fields=[
                (
                    "namespace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="sessions_app.namespace",
                    ),
                ),
                (
                    "id",
                    models.UUIDField(
                        default=memory_site.core.db.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("description", models.TextField(blank=True)),
                (
                    "projects",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=255), blank=True, default=list, size=None
                    ),
                ),
                ("metadata", models.JSONField(blank=True, default=dict)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("redacted_names", models.JSONField(db_default=models.Value({}, models.JSONField()), editable=False)),
            ],
            options={
                "indexes": [
                    django.contrib.postgres.indexes.GinIndex(
                        models.F("projects"), fastupdate=False, name="project_group_projects"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("namespace", "name"), name="project_group_is_kept_once"),
                    models.CheckConstraint(
                        condition=models.Q(("name", ""), _negated=True), name="project_group_is_named"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("projects__len__gte", 1)), name="project_group_is_not_empty"
                    ),
                ],
            },
        ),
    ]
