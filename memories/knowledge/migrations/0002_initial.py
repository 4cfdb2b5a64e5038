import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models

import memories.memory_types
import memory_site.core.db.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [("knowledge", "0001_functions"), ("sessions_app", "0003_foreign_keys")]

    operations = [
        migrations.CreateModel(
            name="DueCluster",
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
                ("memory_type", models.CharField(max_length=32)),
                ("key", models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name="Cluster",
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
                    "memory_type",
                    models.CharField(
                        choices=[
                            ("agent", "agent"),
                            ("rag", "rag"),
                            ("workflow", "workflow"),
                            ("insight", "insight"),
                            ("project", "project"),
                            ("conversation", "conversation"),
                            ("business_fact", "business_fact"),
                            ("strategic_insight", "strategic_insight"),
                            ("user_preference", "user_preference"),
                            ("process_knowledge", "process_knowledge"),
                            ("market_intelligence", "market_intelligence"),
                            ("technical_knowledge", "technical_knowledge"),
                            ("relationship", "relationship"),
                            ("search_result", "search_result"),
                            ("user_selection", "user_selection"),
                            ("tool_output", "tool_output"),
                            ("domain_entity", "domain_entity"),
                            ("completed_action", "completed_action"),
                            ("conversation_fact", "conversation_fact"),
                            ("temporary_state", "temporary_state"),
                        ],
                        max_length=32,
                    ),
                ),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=128), size=None),
                ),
                (
                    "key",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func("tags", function="knowledge_tags_key"),
                        output_field=models.BinaryField(),
                    ),
                ),
                (
                    "name",
                    models.CharField(blank=True, help_text="Its type and tags, when there is none.", max_length=255),
                ),
                ("description", models.TextField(blank=True, null=True)),
                (
                    "topics",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=255), blank=True, default=list, size=None
                    ),
                ),
                ("confidence", models.FloatField(db_default=1)),
                ("is_explicit", models.BooleanField(db_default=False, editable=False)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "words",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            "name", "description", "tags", "topics", function="knowledge_cluster_lexemes"
                        ),
                        output_field=django.contrib.postgres.fields.ArrayField(
                            base_field=models.TextField(), size=None
                        ),
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("namespace"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="cluster_newest",
                    ),
                    models.Index(
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="cluster_newest_of_all",
                    ),
                    django.contrib.postgres.indexes.GinIndex(models.F("tags"), fastupdate=False, name="cluster_tags"),
                    django.contrib.postgres.indexes.GinIndex(models.F("words"), fastupdate=False, name="cluster_words"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("key", "namespace", "memory_type"), name="cluster_is_kept_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "memory_type__in",
                                [
                                    memories.memory_types.MemoryType["AGENT"],
                                    memories.memory_types.MemoryType["RAG"],
                                    memories.memory_types.MemoryType["WORKFLOW"],
                                    memories.memory_types.MemoryType["INSIGHT"],
                                    memories.memory_types.MemoryType["PROJECT"],
                                    memories.memory_types.MemoryType["CONVERSATION"],
                                    memories.memory_types.MemoryType["BUSINESS_FACT"],
                                    memories.memory_types.MemoryType["STRATEGIC_INSIGHT"],
                                    memories.memory_types.MemoryType["USER_PREFERENCE"],
                                    memories.memory_types.MemoryType["PROCESS_KNOWLEDGE"],
                                    memories.memory_types.MemoryType["MARKET_INTELLIGENCE"],
                                    memories.memory_types.MemoryType["TECHNICAL_KNOWLEDGE"],
                                    memories.memory_types.MemoryType["RELATIONSHIP"],
                                    memories.memory_types.MemoryType["SEARCH_RESULT"],
                                    memories.memory_types.MemoryType["USER_SELECTION"],
                                    memories.memory_types.MemoryType["TOOL_OUTPUT"],
                                    memories.memory_types.MemoryType["DOMAIN_ENTITY"],
                                    memories.memory_types.MemoryType["COMPLETED_ACTION"],
                                    memories.memory_types.MemoryType["CONVERSATION_FACT"],
                                    memories.memory_types.MemoryType["TEMPORARY_STATE"],
                                ],
                            )
                        ),
                        name="cluster_type_is_known",
                    ),
                    models.CheckConstraint(condition=models.Q(("tags__len__range", (1, 256))), name="cluster_has_tags"),
                    models.CheckConstraint(
                        condition=models.Q(("confidence__range", (0, 1))), name="cluster_confidence_is_0_to_1"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Pattern",
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
                ("user_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="user")),
                (
                    "pattern_type",
                    models.CharField(
                        choices=[
                            ("preference", "Preference"),
                            ("workflow", "Workflow"),
                            ("decision_pattern", "Decision Pattern"),
                        ],
                        max_length=32,
                    ),
                ),
                ("key", models.CharField(max_length=255)),
                ("description", models.TextField(blank=True, null=True)),
                ("frequency", models.BigIntegerField(default=1)),
                ("confidence", models.FloatField(default=1)),
                (
                    "examples",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=500), blank=True, default=list, size=None
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
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("namespace"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="pattern_newest",
                    ),
                    models.Index(
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="pattern_newest_of_all",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("namespace", "user_id", "key"), name="pattern_is_kept_once", nulls_distinct=False
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("pattern_type__in", ["preference", "workflow", "decision_pattern"])),
                        name="pattern_type_is_known",
                    ),
                    models.CheckConstraint(condition=models.Q(("frequency__gte", 1)), name="pattern_occurs"),
                    models.CheckConstraint(
                        condition=models.Q(("confidence__range", (0, 1))), name="pattern_confidence_is_0_to_1"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("examples__len__lte", 10)), name="pattern_examples_are_bounded"
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.LessThanOrEqual(
                            django.db.models.functions.text.Length(
                                django.db.models.functions.comparison.Cast("metadata", models.TextField())
                            ),
                            262144,
                        ),
                        name="pattern_metadata_is_bounded",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Preference",
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
                ("user_id", models.CharField(max_length=255, verbose_name="user")),
                ("key", models.CharField(max_length=255)),
                ("value", models.JSONField()),
                ("confidence", models.FloatField(default=1)),
                ("source", models.CharField(default="api", max_length=255)),
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
                "indexes": [
                    models.Index(
                        models.F("namespace"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="preference_newest",
                    ),
                    models.Index(
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="preference_newest_of_all",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("namespace", "user_id", "key"), name="preference_is_kept_once"),
                    models.CheckConstraint(
                        condition=models.Q(("confidence__range", (0, 1))), name="preference_confidence_is_0_to_1"
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.LessThanOrEqual(
                            django.db.models.functions.text.Length(
                                django.db.models.functions.comparison.Cast("value", models.TextField())
                            ),
                            262144,
                        ),
                        name="preference_value_is_bounded",
                    ),
                ],
            },
        ),
    ]
