"""Walking the graph and resolving pending relationships name the namespace in every statement."""

from importlib import import_module

from django.db import migrations

EARLIER_RELATED_SQL = import_module("memories.graph.migrations.0003_functions").RELATED_MEMORIES_SQL

# Breadth-first from one memory, in both directions: each living memory once, by its shortest path, and of several
# shortest ones the strongest (the product of the strengths). A recursive query would follow every path, and behind two
# hubs of a thousand relationships there are a million. Stops when `enough` memories are found; no step reads more than
# 50,000 relationships.
RELATED_MEMORIES_SQL = """
CREATE FUNCTION graph_related(space bigint, start uuid, farthest integer, enough integer)
RETURNS TABLE (id uuid, distance integer, path_type text, strength double precision)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    known uuid[] := ARRAY[start];
    ids uuid[] := ARRAY[start];
    paths text[] := ARRAY[NULL];
    strengths double precision[] := ARRAY[1];
BEGIN
    FOR step IN 1..farthest LOOP
        SELECT array_agg(reached.id), array_agg(reached.path), array_agg(reached.product) INTO ids, paths, strengths FROM (
            SELECT other.id, other.path, other.product FROM (
                SELECT DISTINCT ON (way.id) way.id, way.path, way.product FROM (
                    SELECT link.id, concat_ws(' > ', here.path, link.type) AS path, here.product * link.strength AS product
                    FROM unnest(ids, paths, strengths) AS here (id, path, product) CROSS JOIN LATERAL (
                        SELECT away.to_memory_id AS id, away.type, greatest(away.strength, 1e-9) AS strength
                        FROM graph_relationship away WHERE away.namespace_id = space AND away.from_memory_id = here.id
                        UNION ALL
                        SELECT back.from_memory_id, back.type, greatest(back.strength, 1e-9)
                        FROM graph_relationship back WHERE back.namespace_id = space AND back.to_memory_id = here.id
                    ) link LIMIT 50000
                ) way
                WHERE NOT EXISTS (SELECT FROM unnest(known) AS passed (id) WHERE passed.id = way.id)
                ORDER BY way.id, way.product DESC, way.path
            ) other
            JOIN memories_memory memory ON memory.namespace_id = space AND memory.id = other.id
            WHERE memory.expires_at IS NULL OR memory.expires_at > statement_timestamp()
            ORDER BY other.product DESC, other.id DESC
            LIMIT enough - cardinality(known) + 1
        ) reached;
        EXIT WHEN ids IS NULL;
        RETURN QUERY SELECT each.id, step, each.path, each.product
            FROM unnest(ids, paths, strengths) AS each (id, path, product);
        known := known || ids;
        EXIT WHEN cardinality(known) > enough;
    END LOOP;
END $$;
"""

# Turn the pending relationships that name these entities of a namespace into relationships. Rows that another
# transaction has locked are skipped, so that no two transactions wait for each other; a periodic task finds those, and
# the ones that two transactions missed because neither saw the other. The plans are cached, because the application's
# connections plan every statement again (force_custom_plan): 0.06 ms for an entity instead of 0.36.
#
# What is ready comes out of one statement and goes into the next as a value: where tables are distributed, no statement
# both reads one and writes another.
RESOLVE_PENDING_SQL = """
CREATE FUNCTION graph_resolve_pending(space bigint, entities uuid[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    ready jsonb;
BEGIN
    SELECT jsonb_agg(relationship) INTO ready FROM (
        SELECT waiting.id, waiting.owner, waiting.type, waiting.strength, waiting.metadata,
               CASE WHEN waiting.reverse THEN entity.id ELSE waiting.from_memory_id END AS start,
               CASE WHEN waiting.reverse THEN waiting.from_memory_id ELSE entity.id END AS finish
        FROM memories_memory entity
        JOIN graph_pendingrelationship waiting USING (namespace_id, owner, entity_system, entity_id)
        JOIN memories_memory beginning
            ON beginning.namespace_id = waiting.namespace_id AND beginning.id = waiting.from_memory_id
        WHERE entity.namespace_id = space AND entity.id = ANY (entities)
          AND (entity.expires_at IS NULL OR entity.expires_at > statement_timestamp())
        FOR UPDATE OF waiting SKIP LOCKED
        FOR KEY SHARE OF entity, beginning SKIP LOCKED
    ) relationship;
    IF ready IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM graph_pendingrelationship
    WHERE namespace_id = space AND id = ANY (ARRAY(SELECT (each ->> 'id')::uuid FROM jsonb_array_elements(ready) AS each));
    INSERT INTO graph_relationship (namespace_id, id, owner, from_memory_id, to_memory_id, type, strength, metadata)
    SELECT space, id, owner, start, finish, type, strength, metadata
    FROM jsonb_to_recordset(ready) AS found
        (id uuid, owner text, start uuid, finish uuid, type text, strength double precision, metadata jsonb)
    WHERE start <> finish
    ORDER BY start, finish, type
    ON CONFLICT (namespace_id, from_memory_id, to_memory_id, type) DO NOTHING;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("graph", "0007_namespace_in_keys")]
    operations = [
        migrations.RunSQL(RELATED_MEMORIES_SQL, "DROP FUNCTION graph_related(bigint, uuid, integer, integer)"),
        migrations.RunSQL("DROP FUNCTION graph_related(uuid, integer, integer)", EARLIER_RELATED_SQL),
        migrations.RunSQL(RESOLVE_PENDING_SQL, "DROP FUNCTION graph_resolve_pending(bigint, uuid[])"),
    ]
