"""Which projects a project sees."""

from django.db import migrations

# The projects that a project sees, each once, with its highest weight. `names` are the current project's own name and
# its redacted form; a project whose name looks secret is also listed under the redacted name that insights store.
#
# At an equal match the order is: the current project, its dependencies in both directions, the members of its groups.
# A better match still comes first: that of a neighbour by a ninth (1 / 0.9), that of a group by a quarter (1 / 0.8). So
# a neighbour's exact answer (a score of .9) stands before one of the current project that shares some words (.6).
#
# Plain SQL that is STABLE and neither STRICT nor SET, so that PostgreSQL inlines it into the calling statement.
VISIBLE_PROJECTS_SQL = """
CREATE FUNCTION insights_visible_projects(namespace bigint, names varchar[])
RETURNS TABLE (project varchar, weight double precision, relation text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 20
BEGIN ATOMIC
    SELECT DISTINCT ON (known.name) known.name, near.weight, near.relation
    FROM (
        SELECT unnest(names), 1.0::float8, 'current'::text, NULL::jsonb
        UNION ALL
        SELECT unnest(ARRAY[source_project, target_project]), 0.9::float8, 'dependency', redacted_names
        FROM insights_projectdependency
        WHERE namespace_id = namespace AND (source_project = ANY(names) OR target_project = ANY(names))
        UNION ALL
        SELECT unnest(projects), 0.8::float8, 'group', redacted_names
        FROM insights_projectgroup WHERE namespace_id = namespace AND projects && names
    ) near (name, weight, relation, redacted_names)
    CROSS JOIN LATERAL unnest(ARRAY[near.name, (near.redacted_names ->> near.name::text)::varchar]) known (name)
    WHERE known.name IS NOT NULL
    ORDER BY known.name, near.weight DESC;
END
"""


class Migration(migrations.Migration):
    dependencies = [("insights", "0002_foreign_keys")]
    operations = [migrations.RunSQL(VISIBLE_PROJECTS_SQL, "DROP FUNCTION insights_visible_projects(bigint, varchar[])")]
