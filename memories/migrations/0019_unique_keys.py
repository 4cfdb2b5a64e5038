"""A key names one memory of a user, and a memory with a key may say the same as another one."""

from django.db import migrations, models
from django.db.models import Func, Q

from memory_site.core.db.migrations import ConcurrentSQL, drop_index_sql, rebuild_index_sql, validate_constraint

TABLE = "memories_memory"
CONTENT = (
    "(namespace_id, memory_type, user_id, content_hash, document_id, memories_role(metadata))"
    " NULLS NOT DISTINCT WHERE entity_id IS NULL"
)
KEY = "(namespace_id, user_id, key) NULLS NOT DISTINCT WHERE key IS NOT NULL"


def build_constraint(condition: Q) -> models.UniqueConstraint:
    return models.UniqueConstraint(
        "namespace",
        "memory_type",
        "user_id",
        "content_hash",
        "document_id",
        Func("metadata", function="memories_role"),
        condition=condition,
        nulls_distinct=False,
        name="memory_is_kept_once",
    )


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("memories", "0018_memory_key")]
    operations = [
        validate_constraint(TABLE, "memory_with_a_key_is_no_entity"),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                ConcurrentSQL(
                    TABLE,
                    rebuild_index_sql(TABLE, "memory_has_its_key", KEY, unique=True),
                    drop_index_sql("memory_has_its_key"),
                ),
                ConcurrentSQL(
                    TABLE,
                    rebuild_index_sql(TABLE, "memory_is_kept_once", f"{CONTENT} AND key IS NULL", unique=True),
                    rebuild_index_sql(TABLE, "memory_is_kept_once", CONTENT, unique=True),
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    "memory",
                    models.UniqueConstraint(
                        fields=["namespace", "user_id", "key"],
                        condition=Q(key__isnull=False),
                        nulls_distinct=False,
                        name="memory_has_its_key",
                    ),
                ),
                migrations.RemoveConstraint("memory", "memory_is_kept_once"),
                migrations.AddConstraint("memory", build_constraint(Q(entity_id=None, key=None))),
            ],
        ),
    ]
