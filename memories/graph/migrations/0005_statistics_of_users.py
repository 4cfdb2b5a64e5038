import django.db.models.deletion
from django.db import migrations, models

VIEW = """
CREATE MATERIALIZED VIEW graph_userstatistics AS
WITH typed AS (
    SELECT namespace_id, user_id, memory_type, count(*) AS memories, count(entity_id) AS entities,
           min(created_at) AS first_at, max(created_at) AS latest_at
    FROM memories_memory
    WHERE owner <> '' AND (expires_at IS NULL OR expires_at > statement_timestamp())
    GROUP BY namespace_id, user_id, memory_type
),
linked AS (
    SELECT namespace_id, owner AS user_id, count(*) AS relationships
    FROM graph_relationship WHERE owner <> '' GROUP BY namespace_id, owner
)
SELECT namespace_id, user_id, sum(memories)::bigint AS memories,
       coalesce(max(relationships), 0) AS relationships, sum(entities)::bigint AS entities,
       jsonb_object_agg(memory_type, memories) AS types,
       min(first_at) AS first_at, max(latest_at) AS latest_at, statement_timestamp() AS refreshed_at
FROM typed LEFT JOIN linked USING (namespace_id, user_id)
GROUP BY namespace_id, user_id;

-- Without it a refresh would keep readers out.
CREATE UNIQUE INDEX user_statistics ON graph_userstatistics (namespace_id, user_id);
"""


class Migration(migrations.Migration):
    dependencies = [("graph", "0004_waiting_relationships")]
    operations = [
        migrations.RunSQL(VIEW, "DROP MATERIALIZED VIEW graph_userstatistics"),
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
            ],
            options={"managed": False},
        ),
    ]
