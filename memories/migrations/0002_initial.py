import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.db.models.lookups
import django.utils.timezone
import pgvector.django.halfvec
import pgvector.django.indexes
from django.db import migrations, models

import memories.memory_types
import memory_site.core.db.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [("memories", "0001_functions"), ("sessions_app", "0003_foreign_keys")]

    operations = [
        migrations.CreateModel(
            name="Memory",
            fields=[
                (
                    "namespace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="memories",
                        to="sessions_app.namespace",
                    ),
                ),
                (
                    "id",
                    models.UUIDField(
                        default=memory_site.core.db.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("content", models.TextField()),
                ("summary", models.TextField(blank=True, null=True)),
                ("data", models.JSONField(blank=True, null=True)),
                ("metadata", models.JSONField(blank=True, default=dict)),
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
                        default=memories.memory_types.MemoryType["AGENT"],
                        max_length=32,
                    ),
                ),
                ("source_system", models.CharField(max_length=255)),
                ("user_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="user")),
                ("agent_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="agent")),
                ("workflow_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="workflow")),
                ("repo_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="repository")),
                ("session_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="session")),
                (
                    "importance",
                    models.SmallIntegerField(
                        choices=[(1, "TRIVIAL"), (2, "LOW"), (3, "MEDIUM"), (4, "HIGH"), (5, "CRITICAL")],
                        default=memories.memory_types.Importance["MEDIUM"],
                    ),
                ),
                ("confidence", models.FloatField(default=1)),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=128), blank=True, default=list, size=None
                    ),
                ),
                (
                    "entity_system",
                    models.CharField(blank=True, max_length=255, null=True, verbose_name="entity system"),
                ),
                ("entity_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="entity id")),
                ("entity_type", models.CharField(blank=True, max_length=255, null=True, verbose_name="entity type")),
                ("entity_name", models.CharField(blank=True, max_length=255, null=True, verbose_name="entity name")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("access_count", models.PositiveIntegerField(default=0, editable=False)),
                ("last_accessed_at", models.DateTimeField(editable=False, null=True)),
                (
                    "content_hash",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func("content", function="memories_sha256"),
                        output_field=models.BinaryField(),
                    ),
                ),
                (
                    "search_vector",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func("content", "summary", "data", function="memories_search_vector"),
                        output_field=django.contrib.postgres.search.SearchVectorField(),
                    ),
                ),
                ("document_id", models.UUIDField(editable=False, null=True)),
                ("base_relevance", models.FloatField(db_default=1)),
                (
                    "last_updated",
                    models.DateTimeField(editable=False, help_text="When its entity was last stored again.", null=True),
                ),
                (
                    "owner",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.functions.comparison.Coalesce("user_id", models.Value("")),
                        output_field=models.CharField(max_length=255),
                    ),
                ),
                (
                    "update_count",
                    models.PositiveIntegerField(
                        db_default=0, editable=False, help_text="How often its entity was stored again."
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "memories",
            },
        ),
        migrations.CreateModel(
            name="Embedding",
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
                        "memory_id", "model", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "memory",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="embeddings",
                        to="memories.memory",
                    ),
                ),
                ("user_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="user")),
                ("memory_type", models.CharField(max_length=32)),
                ("repo_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="repository")),
                ("expires_at", models.DateTimeField(null=True)),
                ("model", models.CharField(max_length=255)),
                ("content_hash", models.BinaryField()),
                ("vector", pgvector.django.halfvec.HalfVectorField(dimensions=768)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name="Reembedding",
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
                ("model", models.CharField(max_length=255)),
                ("earlier_model", models.CharField(max_length=255, null=True)),
                ("memories_total", models.PositiveIntegerField(null=True)),
                ("memories_done", models.PositiveIntegerField(default=0)),
                ("memories_refused", models.PositiveIntegerField(default=0)),
                ("error", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_heartbeat_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("switched_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "duration_seconds",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("finished_at"),
                            models.F("created_at"),
                            arg_joiner=" - ",
                            template="EXTRACT(EPOCH FROM %(expressions)s)::double precision",
                        ),
                        output_field=models.FloatField(),
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DueEmbedding",
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
                        related_name="due",
                        serialize=False,
                        to="memories.memory",
                    ),
                ),
                ("due_at", models.DateTimeField()),
                ("attempts", models.SmallIntegerField(db_default=0)),
                ("error", models.TextField(db_default="")),
                ("characters", models.IntegerField()),
            ],
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="memory_newest_of_all",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="memory_newest",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.F("memory_type"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="memory_by_type",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.F("source_system"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="memory_by_source",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.F("user_id"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("user_id__isnull", False)),
                name="memory_by_user",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.F("agent_id"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("agent_id__isnull", False)),
                name="memory_by_agent",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.F("workflow_id"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("workflow_id__isnull", False)),
                name="memory_by_workflow",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.F("repo_id"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("repo_id__isnull", False)),
                name="memory_by_repo",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.F("session_id"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("session_id__isnull", False)),
                name="memory_by_session",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.F("entity_system"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("entity_system__isnull", False)),
                name="memory_by_entity_system",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("metadata__contains", {"important": True})),
                name="memory_important",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("document_id"), condition=models.Q(("document_id__isnull", False)), name="memory_by_document"
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("namespace"),
                models.F("user_id"),
                django.db.models.functions.text.Upper("entity_id"),
                condition=models.Q(("entity_id__isnull", False)),
                name="memory_by_entity_id",
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=models.Index(
                models.F("expires_at"), condition=models.Q(("expires_at__isnull", False)), name="memory_expiring"
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=django.contrib.postgres.indexes.GinIndex(
                models.F("search_vector"), fastupdate=False, name="memory_words"
            ),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=django.contrib.postgres.indexes.GinIndex(models.F("tags"), fastupdate=False, name="memory_tags"),
        ),
        migrations.AddIndex(
            model_name="memory",
            index=django.contrib.postgres.indexes.GinIndex(
                fastupdate=False, fields=["metadata"], name="memory_metadata", opclasses=["jsonb_path_ops"]
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.UniqueConstraint(
                condition=models.Q(("entity_id", None)),
                fields=("namespace", "memory_type", "user_id", "content_hash", "document_id"),
                name="memory_is_kept_once",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.UniqueConstraint(
                condition=models.Q(("entity_id__isnull", False)),
                fields=("namespace", "user_id", "entity_system", "entity_id"),
                name="entity_has_one_memory",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.UniqueConstraint(fields=("namespace", "owner", "id"), name="memory_of_owner"),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=models.Q(("base_relevance__range", (0, 1))), name="memory_base_relevance_is_0_to_1"
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=models.Q(("content__regex", "\\S")), name="memory_content_is_not_blank"
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
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
                name="memory_type_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=models.Q(("source_system", ""), _negated=True), name="memory_source_is_named"
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=models.Q(("tags__len__lte", 256)), name="memory_tags_are_bounded"
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=django.db.models.lookups.LessThanOrEqual(
                    django.db.models.functions.text.Length(
                        django.db.models.functions.comparison.Cast("metadata", models.TextField())
                    ),
                    262144,
                ),
                name="memory_metadata_is_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=django.db.models.lookups.LessThanOrEqual(
                    django.db.models.functions.text.Length(
                        django.db.models.functions.comparison.Cast("data", models.TextField())
                    ),
                    262144,
                ),
                name="memory_data_is_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=models.Q(("importance__range", (1, 5))), name="memory_importance_is_1_to_5"
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=models.Q(("confidence__range", (0, 1))), name="memory_confidence_is_0_to_1"
            ),
        ),
        migrations.AddConstraint(
            model_name="memory",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("entity_id", None), ("entity_system", None)),
                    models.Q(("entity_id__isnull", False), ("entity_system__isnull", False)),
                    _connector="OR",
                ),
                name="entity_has_system_and_id",
            ),
        ),
        migrations.AddIndex(
            model_name="embedding",
            index=models.Index(models.F("namespace"), models.F("model"), models.F("user_id"), name="embedding_owner"),
        ),
        migrations.AddIndex(
            model_name="embedding",
            index=pgvector.django.indexes.HnswIndex(
                ef_construction=64, fields=["vector"], m=16, name="embedding_nearest", opclasses=["halfvec_ip_ops"]
            ),
        ),
        migrations.AddIndex(
            model_name="reembedding",
            index=models.Index(
                models.OrderBy(models.F("created_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="reembedding_newest_of_all",
            ),
        ),
        migrations.AddConstraint(
            model_name="reembedding",
            constraint=models.UniqueConstraint(
                condition=models.Q(("finished_at", None)),
                fields=("namespace",),
                name="one_reembedding_of_a_namespace_at_a_time",
            ),
        ),
        migrations.AddIndex(
            model_name="dueembedding",
            index=models.Index(models.F("due_at"), name="embedding_due"),
        ),
    ]
