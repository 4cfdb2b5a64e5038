import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import memory_site.core.db.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [("memories", "0003_foreign_keys"), ("sessions_app", "0003_foreign_keys")]

    operations = [
        migrations.CreateModel(
            name="Document",
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
                ("repo_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="repository")),
                ("path", models.TextField(blank=True, null=True)),
                ("title", models.CharField(blank=True, max_length=255, null=True)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                ("digest", models.BinaryField()),
                ("size", models.PositiveIntegerField(help_text="bytes")),
                ("chunk_count", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("namespace"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="document_newest",
                    ),
                    models.Index(
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="document_newest_of_all",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("namespace", "repo_id", "path"), name="document_is_one_file"),
                    models.UniqueConstraint(
                        condition=models.Q(("path", None)),
                        fields=("namespace", "repo_id", "digest"),
                        name="posted_document_is_kept_once",
                        nulls_distinct=False,
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Ingestion",
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
                ("repo_id", models.CharField(max_length=255, verbose_name="repository")),
                ("path", models.TextField()),
                (
                    "suffixes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32), default=list, size=None
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("in_progress", "In Progress"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                        ],
                        default="pending",
                        max_length=16,
                    ),
                ),
                ("documents_total", models.PositiveIntegerField(null=True)),
                ("documents_done", models.PositiveIntegerField(default=0)),
                ("documents_changed", models.PositiveIntegerField(default=0)),
                ("documents_deleted", models.PositiveIntegerField(default=0)),
                ("chunks", models.PositiveIntegerField(default=0, help_text="Of the documents that changed.")),
                (
                    "skipped",
                    models.JSONField(default=list, help_text="Files that were not taken, and why; the first hundred."),
                ),
                ("error", models.TextField(blank=True, default="")),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("started_at", models.DateTimeField(null=True)),
                ("last_heartbeat_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "duration_seconds",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("finished_at"),
                            models.F("started_at"),
                            arg_joiner=" - ",
                            template="EXTRACT(EPOCH FROM %(expressions)s)::double precision",
                        ),
                        output_field=models.FloatField(),
                    ),
                ),
                ("documents_skipped", models.PositiveIntegerField(default=0)),
                (
                    "within_roots",
                    models.BooleanField(default=True, help_text="Only while its folder lies inside INGESTION_ROOTS."),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("namespace"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="ingestion_newest",
                    ),
                    models.Index(
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="ingestion_newest_of_all",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["pending", "in_progress", "completed", "failed"])),
                        name="ingestion_status_is_known",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ["pending", "in_progress"])),
                        fields=("namespace", "repo_id"),
                        name="one_ingestion_of_a_repository_at_a_time",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="WorkflowExecution",
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
                ("workflow_id", models.CharField(max_length=255, verbose_name="workflow")),
                ("adapter", models.CharField(max_length=255)),
                ("agent_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="agent")),
                ("user_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="user")),
                (
                    "repositories",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=255), blank=True, default=list, size=None
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("running", "Running"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                        ],
                        default="completed",
                        max_length=16,
                    ),
                ),
                ("result", models.JSONField(blank=True, null=True)),
                ("error", models.TextField(blank=True, null=True)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "duration_seconds",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("finished_at"),
                            models.F("started_at"),
                            arg_joiner=" - ",
                            template="EXTRACT(EPOCH FROM %(expressions)s)::double precision",
                        ),
                        output_field=models.FloatField(),
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "memory",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="memories.memory",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("namespace"),
                        models.F("workflow_id"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="execution_of_workflow",
                    ),
                    models.Index(
                        models.F("namespace"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="execution_newest",
                    ),
                    models.Index(
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="execution_newest_of_all",
                    ),
                    models.Index(models.F("namespace"), models.F("started_at"), name="execution_started"),
                    models.Index(
                        models.F("memory"), condition=models.Q(("memory__isnull", False)), name="execution_memory"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["pending", "running", "completed", "failed"])),
                        name="execution_status_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("finished_at__gte", models.F("started_at")),
                                ("finished_at__isnull", False),
                                ("status__in", ("completed", "failed")),
                            ),
                            models.Q(
                                models.Q(("status__in", ("completed", "failed")), _negated=True),
                                ("finished_at__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="execution_ends_when_it_is_over",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "failed"), _negated=True), ("error__isnull", False), _connector="OR"
                        ),
                        name="failed_execution_says_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("repositories__len__lte", 64)), name="execution_repositories_are_bounded"
                    ),
                ],
            },
        ),
    ]
