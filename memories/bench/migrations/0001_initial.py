"""Test searches. Like that of every divided table, the key begins with the namespace."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import memory_site.core.db.ids
from memory_site.core.db.migrations import foreign_key


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("sessions_app", "0012_erased_namespaces"),
    ]

    operations = [
        migrations.CreateModel(
            name="TestSearch",
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
                ("name", models.CharField(max_length=120)),
                ("user_id", models.CharField(editable=False, max_length=255, null=True, verbose_name="user")),
                ("setting", models.JSONField()),
                (
                    "expected",
                    django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), default=list, size=None),
                ),
                (
                    "found",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), default=list, editable=False, size=None
                    ),
                ),
                ("last_run_at", models.DateTimeField(editable=False, null=True)),
                ("created_by", models.CharField(default="", editable=False, max_length=255)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
            options={
                "verbose_name_plural": "test searches",
                "permissions": [("view_plan", "Can see the statement and the plan of a search")],
                "indexes": [
                    models.Index(
                        models.F("namespace"),
                        models.F("user_id"),
                        condition=models.Q(("user_id__isnull", False)),
                        name="test_search_of_user",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("namespace", "name"), name="test_search_has_one_name"),
                    models.CheckConstraint(
                        condition=models.Q(("expected__len__lte", 20)), name="test_search_is_bounded"
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            "ALTER TABLE bench_testsearch DROP CONSTRAINT bench_testsearch_pkey, ADD PRIMARY KEY (namespace_id, id)",
            migrations.RunSQL.noop,
        ),
        foreign_key("bench_testsearch", "namespace_id", "sessions_app_namespace"),
    ]
