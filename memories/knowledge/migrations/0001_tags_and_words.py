from django.db import migrations

# What tells clusters apart: each tag once, in the order of its bytes, whatever the database's own order is.
ONCE = 'ARRAY(SELECT DISTINCT tag COLLATE "C" FROM unnest(given) AS tag ORDER BY 1)'
# The plan is kept, because our connections plan every statement anew: 9 µs instead of 60. An array's text quotes what
# it must, so that no two arrays have the same.
TAGS = f"""
CREATE FUNCTION knowledge_normalize_tags(given varchar[]) RETURNS varchar[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET plan_cache_mode = force_generic_plan
RETURN {ONCE};
"""
KEY = f"""
CREATE FUNCTION knowledge_tags_key(given varchar[]) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET plan_cache_mode = force_generic_plan
RETURN memories_sha256({ONCE}::text);
"""
LEXEMES = """
CREATE FUNCTION knowledge_lexemes(given text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET plan_cache_mode = force_generic_plan
RETURN tsvector_to_array(to_tsvector('pg_catalog.english'::regconfig, memories_normalize_text(given)));
"""
WORDS = """
CREATE FUNCTION knowledge_cluster_lexemes(name text, description text, tags varchar[], topics varchar[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET plan_cache_mode = force_generic_plan
RETURN knowledge_lexemes(concat_ws(' ', name, description, array_to_string(tags, ' '), array_to_string(topics, ' ')));
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("memories", "0011_room_for_uses"), ("sessions_app", "0005_embedding_model_of_a_namespace")]
    operations = [
        migrations.RunSQL(TAGS, "DROP FUNCTION knowledge_normalize_tags(varchar[])"),
        migrations.RunSQL(KEY, "DROP FUNCTION knowledge_tags_key(varchar[])"),
        migrations.RunSQL(LEXEMES, "DROP FUNCTION knowledge_lexemes(text)"),
        migrations.RunSQL(WORDS, "DROP FUNCTION knowledge_cluster_lexemes(text, text, varchar[], varchar[])"),
    ]
