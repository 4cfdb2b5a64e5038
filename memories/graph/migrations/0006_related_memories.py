from django.db import migrations

# Step by step from one memory, in both directions: each living memory once, on the shortest way and of those the
# strongest (the product of its strengths). A plain recursive query would follow every way, and behind two hubs of a
# thousand there are a million. It is over when `enough` were found; no step reads more than 50,000 relationships.
RELATED = """
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


class Migration(migrations.Migration):
    dependencies = [("graph", "0005_statistics_of_users")]
    operations = [migrations.RunSQL(RELATED, "DROP FUNCTION graph_related(uuid, integer, integer)")]
