import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import memory_site.core.db.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [("memories", "0003_foreign_keys"), ("sessions_app", "0003_foreign_keys")]

    operations = [
        migrations.CreateModel(
            name="UserStatistics",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "namespace_id", "user_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("user_id", models.CharField(max_length=255)),
                ("memories", models.BigIntegerField()),
                ("relationships", models.BigIntegerField()),
                ("entities", models.BigIntegerField()),
                ("types", models.JSONField()),
                ("first_at", models.DateTimeField()),
                ("latest_at", models.DateTimeField()),
                ("refreshed_at", models.DateTimeField()),
            ],
            options={
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Erasure",
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
                ("user_digest", models.BinaryField()),
                ("requested_by", models.CharField(max_length=255)),
                ("erased", models.JSONField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="erasure_newest_of_all",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PendingRelationship",
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
                ("owner", models.CharField(blank=True, editable=False, max_length=255)),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("led_to", "Led To"),
                            ("relates_to", "Relates To"),
                            ("depends_on", "Depends On"),
                            ("produces", "Produces"),
                            ("belongs_to", "Belongs To"),
                            ("contradicts", "Contradicts"),
                            ("refines", "Refines"),
                            ("answers", "Answers"),
                        ],
                        default="relates_to",
                        max_length=16,
                    ),
                ),
                ("strength", models.FloatField(default=1)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("entity_system", models.CharField(max_length=255)),
                ("entity_id", models.CharField(max_length=255)),
                ("reverse", models.BooleanField(default=False)),
                (
                    "from_memory",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="memories.memory",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(
                        models.F("namespace"),
                        models.F("owner"),
                        models.F("entity_system"),
                        models.F("entity_id"),
                        name="pending_for_entity",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "type__in",
                                [
                                    "led_to",
                                    "relates_to",
                                    "depends_on",
                                    "produces",
                                    "belongs_to",
                                    "contradicts",
                                    "refines",
                                    "answers",
                                ],
                            )
                        ),
                        name="pendingrelationship_type_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("strength__range", (0, 1))), name="pendingrelationship_strength_is_0_to_1"
                    ),
                    models.UniqueConstraint(
                        fields=("from_memory", "entity_system", "entity_id", "type", "reverse"),
                        name="pending_is_kept_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Relationship",
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
                ("owner", models.CharField(blank=True, editable=False, max_length=255)),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("led_to", "Led To"),
                            ("relates_to", "Relates To"),
                            ("depends_on", "Depends On"),
                            ("produces", "Produces"),
                            ("belongs_to", "Belongs To"),
                            ("contradicts", "Contradicts"),
                            ("refines", "Refines"),
                            ("answers", "Answers"),
                        ],
                        default="relates_to",
                        max_length=16,
                    ),
                ),
                ("strength", models.FloatField(default=1)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "from_memory",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="outgoing",
                        to="memories.memory",
                    ),
                ),
                (
                    "to_memory",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="incoming",
                        to="memories.memory",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(
                        models.F("namespace"),
                        models.F("owner"),
                        models.F("from_memory"),
                        models.F("to_memory"),
                        name="relationship_of_owner",
                    ),
                    models.Index(models.F("to_memory"), name="relationship_to"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "type__in",
                                [
                                    "led_to",
                                    "relates_to",
                                    "depends_on",
                                    "produces",
                                    "belongs_to",
                                    "contradicts",
                                    "refines",
                                    "answers",
                                ],
                            )
                        ),
                        name="relationship_type_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("strength__range", (0, 1))), name="relationship_strength_is_0_to_1"
                    ),
                    models.UniqueConstraint(
                        fields=("from_memory", "to_memory", "type"), name="relationship_is_kept_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("from_memory", models.F("to_memory")), _negated=True),
                        name="relationship_joins_two",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UserTotal",
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
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("user_id", models.CharField(max_length=255)),
                ("memories", models.BigIntegerField(db_default=0)),
                ("relationships", models.BigIntegerField(db_default=0)),
            ],
            options={
                "indexes": [models.Index(models.F("namespace"), models.F("user_id"), name="user_total")],
            },
        ),
    ]
