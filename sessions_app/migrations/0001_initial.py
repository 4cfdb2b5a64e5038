import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.db import migrations, models

import memory_site.core.db.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Namespace",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=255, unique=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("embedding_model", models.CharField(editable=False, max_length=255, null=True)),
            ],
            options={
                "ordering": ["name"],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("name", ""), _negated=True), name="namespace_has_a_name")
                ],
            },
        ),
        migrations.CreateModel(
            name="Conversation",
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
                ("session_id", models.CharField(blank=True, max_length=255, null=True)),
                ("user_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="user")),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "duration_seconds",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("ended_at"),
                            models.F("started_at"),
                            arg_joiner=" - ",
                            template="EXTRACT(EPOCH FROM %(expressions)s)::double precision",
                        ),
                        output_field=models.FloatField(),
                    ),
                ),
                ("message_count", models.PositiveIntegerField(db_default=0, editable=False)),
                (
                    "topics",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=128), blank=True, default=list, size=None
                    ),
                ),
                ("summary", models.TextField(blank=True, null=True)),
                ("importance", models.FloatField(default=0.5)),
                ("metadata", models.JSONField(blank=True, default=dict)),
            ],
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                ("id", models.CharField(editable=False, max_length=16, primary_key=True, serialize=False)),
                ("name", models.CharField(blank=True, help_text="What it is for.", max_length=255)),
                ("digest", models.BinaryField()),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=16), default=list, size=None
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("last_used_at", models.DateTimeField(editable=False, null=True)),
                (
                    "namespace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_keys",
                        to="sessions_app.namespace",
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
                "verbose_name_plural": "API keys",
                "ordering": ["-created_at"],
            },
        ),
        migrations.CreateModel(
            name="SessionLink",
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
                ("source_session_id", models.CharField(max_length=255)),
                ("target_session_id", models.CharField(max_length=255)),
                (
                    "link_type",
                    models.CharField(
                        choices=[
                            ("related", "Related"),
                            ("continuation", "Continuation"),
                            ("reference", "Reference"),
                            ("dependency", "Dependency"),
                        ],
                        default="related",
                        max_length=32,
                    ),
                ),
                ("context", models.TextField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SessionMemory",
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
                ("session_id", models.CharField(max_length=255)),
                ("history", models.JSONField(default=list)),
                ("ttl_hours", models.FloatField(blank=True, null=True)),
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
                "verbose_name": "session",
            },
        ),
        migrations.CreateModel(
            name="IdempotentAnswer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=255)),
                ("fingerprint", models.BinaryField()),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("body", models.BinaryField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True),
                ),
                (
                    "api_key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="sessions_app.apikey"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("api_key", "key"), name="one_answer_per_idempotency_key")
                ],
            },
        ),
        migrations.CreateModel(
            name="Message",
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
                (
                    "role",
                    models.CharField(
                        choices=[("user", "User"), ("assistant", "Assistant"), ("system", "System"), ("tool", "Tool")],
                        max_length=16,
                    ),
                ),
                ("agent_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="agent")),
                ("content", models.TextField()),
                ("metadata", models.JSONField(blank=True, default=dict)),
                ("memory_id", models.UUIDField(blank=True, editable=False, null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "conversation",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="messages",
                        to="sessions_app.conversation",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("conversation"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="message_newest",
                    ),
                    models.Index(
                        models.F("memory_id"), condition=models.Q(("memory_id__isnull", False)), name="message_memory"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["user", "assistant", "system", "tool"])),
                        name="message_role_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("content__regex", "\\S")), name="message_content_is_not_blank"
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="conversation",
            index=models.Index(
                models.F("namespace"),
                models.OrderBy(models.F("started_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="conversation_newest",
            ),
        ),
        migrations.AddIndex(
            model_name="conversation",
            index=models.Index(
                models.OrderBy(models.F("started_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="conversation_newest_of_all",
            ),
        ),
        migrations.AddIndex(
            model_name="conversation",
            index=models.Index(
                models.F("namespace"),
                models.F("session_id"),
                models.OrderBy(models.F("started_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("session_id__isnull", False)),
                name="conversation_by_session",
            ),
        ),
        migrations.AddIndex(
            model_name="conversation",
            index=models.Index(
                models.F("namespace"),
                models.F("user_id"),
                models.OrderBy(models.F("started_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("user_id__isnull", False)),
                name="conversation_by_user",
            ),
        ),
        migrations.AddConstraint(
            model_name="conversation",
            constraint=models.CheckConstraint(
                condition=models.Q(("ended_at", None), ("ended_at__gte", models.F("started_at")), _connector="OR"),
                name="conversation_ends_after_its_start",
            ),
        ),
        migrations.AddConstraint(
            model_name="conversation",
            constraint=models.CheckConstraint(
                condition=models.Q(("importance__range", (0, 1))), name="conversation_importance_is_0_to_1"
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("scopes__contained_by", ["read", "write", "admin"]), ("scopes__len__gt", 0)),
                name="api_key_scopes_are_known",
            ),
        ),
        migrations.AddIndex(
            model_name="sessionlink",
            index=models.Index(models.F("namespace"), models.F("target_session_id"), name="session_link_target"),
        ),
        migrations.AddIndex(
            model_name="sessionlink",
            index=models.Index(
                models.F("namespace"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="session_link_newest",
            ),
        ),
        migrations.AddConstraint(
            model_name="sessionlink",
            constraint=models.UniqueConstraint(
                fields=("namespace", "source_session_id", "target_session_id", "link_type"),
                name="session_link_is_kept_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="sessionlink",
            constraint=models.CheckConstraint(
                condition=models.Q(("source_session_id", models.F("target_session_id")), _negated=True),
                name="session_link_joins_two",
            ),
        ),
        migrations.AddConstraint(
            model_name="sessionlink",
            constraint=models.CheckConstraint(
                condition=models.Q(("link_type__in", ["related", "continuation", "reference", "dependency"])),
                name="session_link_type_is_known",
            ),
        ),
        migrations.AddIndex(
            model_name="sessionmemory",
            index=models.Index(
                models.F("namespace"),
                models.OrderBy(models.F("updated_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="session_newest",
            ),
        ),
        migrations.AddIndex(
            model_name="sessionmemory",
            index=models.Index(
                models.OrderBy(models.F("updated_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="session_newest_of_all",
            ),
        ),
        migrations.AddIndex(
            model_name="sessionmemory",
            index=django.contrib.postgres.indexes.GinIndex(
                fields=["history"], name="session_history", opclasses=["jsonb_path_ops"]
            ),
        ),
        migrations.AddConstraint(
            model_name="sessionmemory",
            constraint=models.UniqueConstraint(fields=("namespace", "session_id"), name="session_is_kept_once"),
        ),
        migrations.AddConstraint(
            model_name="sessionmemory",
            constraint=models.CheckConstraint(
                condition=models.Q(("session_id", ""), _negated=True), name="session_has_an_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="sessionmemory",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ttl_hours", None), models.Q(("ttl_hours__gt", 0), ("ttl_hours__lte", 876000)), _connector="OR"
                ),
                name="session_ttl_is_positive",
            ),
        ),
    ]
