"""Unique keys of relationships, and the index for the foreign key to their second memory, begin with the namespace."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import F

from memory_site.core.db.migrations import build_unique_index, replace_index, replace_unique

EARLIER = import_module("memories.graph.migrations.0003_functions").RESOLVE_PENDING_SQL.replace(
    "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
)
RESOLVE_PENDING_SQL = EARLIER.replace("ON CONFLICT (from_memory_id", "ON CONFLICT (namespace_id, from_memory_id")
RELATIONSHIP_KEY = ("from_memory_id", "to_memory_id", "type")
PENDING_KEY = ("from_memory_id", "entity_system", "entity_id", "type", "reverse")


def begin_with_namespace(table: str, name: str, columns: tuple[str, ...]) -> list[migrations.RunSQL]:
    return [
        build_unique_index(table, name, ("namespace_id", *columns)),
        replace_unique(table, name, "UNIQUE", columns),
    ]


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("graph", "0006_long_salesforce_ids")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                *begin_with_namespace("graph_relationship", "relationship_is_kept_once", RELATIONSHIP_KEY),
                *begin_with_namespace("graph_pendingrelationship", "pending_is_kept_once", PENDING_KEY),
                replace_index(
                    "graph_relationship", "relationship_to", "(namespace_id, to_memory_id)", "(to_memory_id)"
                ),
                migrations.RunSQL(RESOLVE_PENDING_SQL, EARLIER),
            ],
            state_operations=[
                migrations.RemoveConstraint("relationship", "relationship_is_kept_once"),
                migrations.RemoveConstraint("pendingrelationship", "pending_is_kept_once"),
                migrations.RemoveIndex("relationship", "relationship_to"),
                migrations.AddConstraint(
                    "relationship",
                    models.UniqueConstraint(
                        fields=("namespace", "from_memory", "to_memory", "type"), name="relationship_is_kept_once"
                    ),
                ),
                migrations.AddConstraint(
                    "pendingrelationship",
                    models.UniqueConstraint(
                        fields=("namespace", "from_memory", "entity_system", "entity_id", "type", "reverse"),
                        name="pending_is_kept_once",
                    ),
                ),
                migrations.AddIndex(
                    "relationship", models.Index(F("namespace"), F("to_memory"), name="relationship_to")
                ),
            ],
        ),
    ]
