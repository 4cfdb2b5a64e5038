"""Jobs and the parts of their files. Like that of every divided table, the key begins with the namespace."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import memory_site.core.db.ids
from memory_site.core.db.migrations import foreign_key, namespaced_foreign_key, validate_constraint


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("sessions_app", "0012_erased_namespaces"),
    ]

    operations = [
        migrations.CreateModel(
            name="Job",
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
                ("action", models.CharField(max_length=32)),
                ("parameters", models.JSONField(blank=True, default=dict)),
                (
                    "selection",
                    models.JSONField(
                        blank=True, default=dict, help_text="Which memories: see memories.search.selection."
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("running", "Running"),
                            ("cancelling", "Cancelling"),
                            ("cancelled", "Cancelled"),
                            ("finished", "Finished"),
                            ("failed", "Failed"),
                            ("undone", "Undone"),
                        ],
                        default="pending",
                        max_length=16,
                    ),
                ),
                (
                    "matched",
                    models.PositiveIntegerField(help_text="Memories that matched when the job was created.", null=True),
                ),
                (
                    "done",
                    models.PositiveIntegerField(
                        default=0, help_text="Memories that it has changed, deleted or written."
                    ),
                ),
                (
                    "failed",
                    models.PositiveIntegerField(default=0, help_text="Memories that it had to leave as they were."),
                ),
                ("cursor", models.UUIDField(help_text="The last memory of the last batch.", null=True)),
                (
                    "last_id",
                    models.UUIDField(
                        help_text="Memories with a greater id came after the job, which leaves them.", null=True
                    ),
                ),
                (
                    "attempts",
                    models.PositiveSmallIntegerField(default=0, help_text="Workers that began since the last batch."),
                ),
                ("created_by", models.CharField(blank=True, default="", max_length=255)),
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
                ("message", models.TextField(blank=True, default="")),
                (
                    "log",
                    models.JSONField(
                        default=list, help_text="Memories that it had to leave, and why; the first thousand."
                    ),
                ),
                ("result", models.JSONField(blank=True, default=dict)),
                ("undo_of", models.UUIDField(help_text="The job whose changes this one takes back.", null=True)),
            ],
        ),
        migrations.CreateModel(
            name="JobFile",
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
                    "pk",
                    models.CompositePrimaryKey(
                        "namespace_id",
                        "job_id",
                        "number",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
                ("size", models.PositiveIntegerField(help_text="Bytes, when unpacked.")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "job",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="parts",
                        to="jobs.job",
                    ),
                ),
            ],
            options={
                "verbose_name": "part of an exported file",
                "verbose_name_plural": "parts of exported files",
            },
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("namespace"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="job_newest",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="job_newest_of_all",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("namespace"),
                models.F("created_at"),
                condition=models.Q(("state__in", ["pending", "running", "cancelling"])),
                name="job_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["pending", "running", "cancelling", "cancelled", "finished", "failed", "undone"])
                ),
                name="job_state_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["pending", "running", "cancelling"]), ("undo_of__isnull", False)),
                fields=("namespace", "undo_of"),
                name="one_undo_of_a_job_at_a_time",
            ),
        ),
        migrations.RunSQL(
            "ALTER TABLE jobs_job DROP CONSTRAINT jobs_job_pkey, ADD PRIMARY KEY (namespace_id, id)",
            migrations.RunSQL.noop,
        ),
        foreign_key("jobs_job", "namespace_id", "sessions_app_namespace"),
        foreign_key("jobs_jobfile", "namespace_id", "sessions_app_namespace"),
        namespaced_foreign_key("jobs_jobfile", "job_id", "jobs_job", "CASCADE"),
        validate_constraint("jobs_jobfile", "jobs_jobfile_job_id_cascade"),
    ]
