"""Walking the graph and the statistics of users leave out memories that are not active."""

from importlib import import_module

from django.db import migrations

RELATED_MEMORIES_SQL = import_module("memories.graph.migrations.0008_functions_by_namespace").RELATED_MEMORIES_SQL
USER_STATISTICS_SQL = import_module("memories.graph.migrations.0005_statistics_without_expired").USER_STATISTICS_SQL
NOT_EXPIRED = "WHERE memory.expires_at IS NULL OR memory.expires_at > statement_timestamp()"
LIVING_RELATED_MEMORIES_SQL = RELATED_MEMORIES_SQL.replace(
    NOT_EXPIRED,
    "WHERE memory.state NOT IN ('superseded', 'pending', 'quarantined')"
    " AND (memory.expires_at IS NULL OR memory.expires_at > statement_timestamp())",
)
LIVING_USER_STATISTICS_SQL = (
    USER_STATISTICS_SQL.replace(
        "WHERE owner <> '' AND (expires_at", "WHERE owner <> '' AND state = 'active' AND (expires_at"
    )
    .replace(
        "expired AS MATERIALIZED (SELECT id FROM memories_memory WHERE expires_at <= statement_timestamp())",
        "hidden AS MATERIALIZED (\n"
        "    SELECT id FROM memories_memory WHERE expires_at <= statement_timestamp() OR state <> 'active'\n)",
    )
    .replace("(SELECT id FROM expired)", "(SELECT id FROM hidden)")
)


def replace_function(sql: str) -> str:
    return sql.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


class Migration(migrations.Migration):
    dependencies = [("graph", "0008_functions_by_namespace"), ("memories", "0016_memory_state")]
    operations = [
        migrations.RunSQL(replace_function(LIVING_RELATED_MEMORIES_SQL), replace_function(RELATED_MEMORIES_SQL)),
        migrations.RunSQL(LIVING_USER_STATISTICS_SQL, USER_STATISTICS_SQL),
    ]
