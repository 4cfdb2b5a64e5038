"""Entities of Salesforce stored by an id of 15 characters get the one of 18, under which the same record is stored now.

Where both were stored, the relationships, the tags and the missing fields of the first go to the second.
"""

from django.db import migrations
from django.utils import timezone

from memories.entity_ids import SALESFORCE, add_checksum

SHORT_ID = {"entity_system": SALESFORCE, "entity_id__regex": "^[0-9A-Za-z]{15}$"}
MOVE_RELATIONSHIPS_SQL = """
INSERT INTO graph_relationship
    (id, namespace_id, owner, from_memory_id, to_memory_id, type, strength, metadata, created_at, updated_at)
SELECT gen_random_uuid(), namespace_id, owner,
       CASE from_memory_id WHEN %(short)s THEN %(long)s ELSE from_memory_id END,
       CASE to_memory_id WHEN %(short)s THEN %(long)s ELSE to_memory_id END,
       type, strength, metadata, created_at, updated_at
FROM graph_relationship
WHERE (from_memory_id = %(short)s OR to_memory_id = %(short)s) AND %(long)s NOT IN (from_memory_id, to_memory_id)
ON CONFLICT DO NOTHING
"""
MOVE_PENDING_SQL = """
UPDATE graph_pendingrelationship moved SET from_memory_id = %(long)s
WHERE from_memory_id = %(short)s AND NOT EXISTS (
    SELECT FROM graph_pendingrelationship same
    WHERE same.from_memory_id = %(long)s
      AND (same.entity_system, same.entity_id, same.type, same.reverse)
          = (moved.entity_system, moved.entity_id, moved.type, moved.reverse)
)
"""
MERGE_COLUMNS_SQL = """
UPDATE memories_memory kept SET
    tags = CASE WHEN cardinality(kept.tags) + cardinality(short.tags) > 256 THEN kept.tags
           ELSE kept.tags || ARRAY(SELECT unnest(short.tags) EXCEPT SELECT unnest(kept.tags)) END,
    access_count = kept.access_count + short.access_count,
    created_at = least(kept.created_at, short.created_at),
    expires_at = CASE WHEN kept.expires_at IS NULL OR short.expires_at IS NULL THEN NULL
                 ELSE greatest(kept.expires_at, short.expires_at) END,
    data = CASE WHEN jsonb_typeof(kept.data -> 'entity_data') = 'object'
                 AND jsonb_typeof(short.data -> 'entity_data') = 'object'
           THEN short.data || kept.data || jsonb_build_object(
               'entity_data', (short.data -> 'entity_data') || (kept.data -> 'entity_data'))
           ELSE coalesce(kept.data, short.data) END
FROM memories_memory short WHERE short.id = %(short)s AND kept.id = %(long)s
"""
RENAME_PENDING_SQL = """
UPDATE graph_pendingrelationship renamed SET entity_id = %(long)s
WHERE entity_system = %(system)s AND entity_id = %(short)s AND NOT EXISTS (
    SELECT FROM graph_pendingrelationship same
    WHERE same.entity_system = %(system)s AND same.entity_id = %(long)s
      AND (same.from_memory_id, same.type, same.reverse) = (renamed.from_memory_id, renamed.type, renamed.reverse)
)
"""
DELETE_PENDING_SQL = "DELETE FROM graph_pendingrelationship WHERE entity_system = %(system)s AND entity_id = %(short)s"


def complete_ids(apps, schema_editor) -> None:
    memories = apps.get_model("memories", "Memory")._base_manager.using(schema_editor.connection.alias)
    columns = ("pk", "namespace_id", "user_id", "entity_id")
    for pk, namespace, user, short in memories.filter(**SHORT_ID).values_list(*columns).iterator():
        same = {"namespace": namespace, "user_id": user, "entity_system": SALESFORCE, "entity_id": add_checksum(short)}
        memories.filter(**same, expires_at__lte=timezone.now()).delete()
        if twin := memories.filter(**same).values_list("pk", flat=True).first():
            merge(schema_editor.connection, pk, twin)
            memories.filter(pk=pk).delete()
        else:
            memories.filter(pk=pk).update(entity_id=same["entity_id"])
    complete_pending_ids(apps, schema_editor)


def merge(connection, short, long) -> None:
    with connection.cursor() as cursor:
        for sql in (MOVE_RELATIONSHIPS_SQL, MOVE_PENDING_SQL, MERGE_COLUMNS_SQL):
            cursor.execute(sql, {"short": short, "long": long})


def complete_pending_ids(apps, schema_editor) -> None:
    """Complete ids that relationships wait for. `resolve_missed` relates those whose entity is stored, in a minute."""
    pending = apps.get_model("graph", "PendingRelationship")._base_manager.using(schema_editor.connection.alias)
    pending = pending.filter(**SHORT_ID)
    with schema_editor.connection.cursor() as cursor:
        for short in pending.values_list("entity_id", flat=True).distinct():
            for sql in (RENAME_PENDING_SQL, DELETE_PENDING_SQL):
                cursor.execute(sql, {"system": SALESFORCE, "short": short, "long": add_checksum(short)})


class Migration(migrations.Migration):
    dependencies = [("graph", "0005_statistics_without_expired")]
    operations = [migrations.RunPython(complete_ids, migrations.RunPython.noop)]
