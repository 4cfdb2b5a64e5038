from django.db import migrations

# convert_to() is only STABLE because it depends on the database's encoding, which never changes; wrapped, its result
# may stand in a generated column.
SHA256 = """
CREATE FUNCTION memories_sha256(content text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN sha256(convert_to(content, 'UTF8'));
"""

# What the parser of words sees: getUserName, get_user_name and get.user.name as three words in a row, ZX-9912 as two.
# An underscore and not a space, so that a web search takes such a name for one thing too. What goes on for 255
# characters without a space is cut: the parser's time grows with the square of a word's length (100,000 took 36 s).
TEXT = r"""
CREATE FUNCTION memories_normalize_text(given text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(
    regexp_replace(
        regexp_replace(
            translate(given, U&'\00A0\2007\202F\3000', '    '), '([[:lower:][:digit:]])([[:upper:]])', '\1_\2', 'g'),
        '([[:alnum:]])([._/:\\]+(?=[[:alpha:]])|-+(?=[[:digit:]]))', '\1_', 'g'),
    '\S{255}', '\& ', 'g');
"""

# The same for the strings inside an object: neither a quote nor a backslash can stand in what is cut.
STRINGS = r"""
CREATE FUNCTION memories_normalize_json(given jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(given::text, '[^[:space:]"\\]{255}', '\& ', 'g')::jsonb;
"""

WORDS = """
CREATE FUNCTION memories_search_vector(content text, summary text, data jsonb) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('pg_catalog.english'::regconfig, memories_normalize_text(coalesce(summary || ' ', '') || content))
    || coalesce(jsonb_to_tsvector('pg_catalog.english'::regconfig, memories_normalize_json(data), '["string"]'), ''::tsvector);
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("sessions_app", "0001_initial")]
    operations = [
        migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS vector", migrations.RunSQL.noop),
        migrations.RunSQL(SHA256, "DROP FUNCTION memories_sha256(text)"),
        migrations.RunSQL(TEXT, "DROP FUNCTION memories_normalize_text(text)"),
        migrations.RunSQL(STRINGS, "DROP FUNCTION memories_normalize_json(jsonb)"),
        migrations.RunSQL(WORDS, "DROP FUNCTION memories_search_vector(text, text, jsonb)"),
    ]
