"""Walking the graph, and turning pending relationships into real ones."""

from django.db import migrations

# Breadth-first from one memory, in both directions: each living memory once, by its shortest path, and of several
# shortest ones the strongest (the product of the strengths). A recursive query would follow every path, and behind two
# hubs of a thousand relationships there are a million. Stops when `enough` memories are found; no step reads more than
# 50,000 relationships.
RELATED_MEMORIES_SQL = """
CREATE FUNCTION graph_related(start uuid, farthest integer, enough integer)
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
                        FROM graph_relationship away WHERE away.from_memory_id = here.id
                        UNION ALL
                        SELECT back.from_memory_id, back.type, greatest(back.strength, 1e-9)
                        FROM graph_relationship back WHERE back.to_memory_id = here.id
                    ) link LIMIT 50000
                ) way
                WHERE NOT EXISTS (SELECT FROM unnest(known) AS passed (id) WHERE passed.id = way.id)
                ORDER BY way.id, way.product DESC, way.path
            ) other
            JOIN memories_memory memory ON memory.id = other.id
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

# Turn the pending relationships that name these entities into relationships. Rows that another transaction has locked
# are skipped, so that no two transactions wait for each other; a periodic task finds those, and the ones that two
# transactions missed because neither saw the other. The plans are cached, because the application's
# connections plan every statement again (force_custom_plan): 0.06 ms for an entity instead of 0.36.
RESOLVE_PENDING_SQL = """
CREATE FUNCTION graph_resolve_pending(entities uuid[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF EXISTS (
        SELECT FROM memories_memory entity
        JOIN graph_pendingrelationship waiting USING (namespace_id, owner, entity_system, entity_id)
        WHERE entity.id = ANY (entities)
    ) THEN
        WITH ready AS (
            SELECT waiting.id, entity.id AS entity
            FROM memories_memory entity
            JOIN graph_pendingrelationship waiting USING (namespace_id, owner, entity_system, entity_id)
            JOIN memories_memory beginning ON beginning.id = waiting.from_memory_id
            WHERE entity.id = ANY (entities)
              AND (entity.expires_at IS NULL OR entity.expires_at > statement_timestamp())
            FOR UPDATE OF waiting SKIP LOCKED
            FOR KEY SHARE OF entity, beginning SKIP LOCKED
        ), done AS (
            DELETE FROM graph_pendingrelationship waiting USING ready WHERE waiting.id = ready.id
            RETURNING waiting.*, ready.entity
        )
        INSERT INTO graph_relationship
            (id, namespace_id, owner, from_memory_id, to_memory_id, type, strength, metadata)
        SELECT id, namespace_id, owner,
               CASE WHEN reverse THEN entity ELSE from_memory_id END AS start,
               CASE WHEN reverse THEN from_memory_id ELSE entity END AS finish,
               type, strength, metadata
        FROM done WHERE entity <> from_memory_id
        ORDER BY start, finish, type
        ON CONFLICT (from_memory_id, to_memory_id, type) DO NOTHING;
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("graph", "0002_foreign_keys")]
    operations = [
        migrations.RunSQL(RELATED_MEMORIES_SQL, "DROP FUNCTION graph_related(uuid, integer, integer)"),
        migrations.RunSQL(RESOLVE_PENDING_SQL, "DROP FUNCTION graph_resolve_pending(uuid[])"),
    ]
