"""Functions of the memories table's generated columns, which must exist before the table."""

from django.db import migrations

# convert_to() is only STABLE because it depends on the database's encoding, which never changes; wrapped, its result
# may stand in a generated column.
SHA256_SQL = """
CREATE FUNCTION memories_sha256(content text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN sha256(convert_to(content, 'UTF8'));
"""

# Text as the full-text parser should see it. Compound names become words: getUserName, get_user_name and get.user.name
# three in a row, ZX-9912 two. The joint is an underscore and not a space, so that websearch_to_tsquery also reads such
# a name as one phrase. Runs of 255 characters without a space are cut: the parser's time grows with the square of a
# word's length (100,000 characters took 36 s).
NORMALIZE_TEXT_SQL = r"""
CREATE FUNCTION memories_normalize_text(given text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(
    regexp_replace(
        regexp_replace(
            translate(given, U&'\00A0\2007\202F\3000', '    '), '([[:lower:][:digit:]])([[:upper:]])', '\1_\2', 'g'),
        '([[:alnum:]])([._/:\\]+(?=[[:alpha:]])|-+(?=[[:digit:]]))', '\1_', 'g'),
    '\S{255}', '\& ', 'g');
"""

# The same cut for the strings inside an object: neither a quote nor a backslash can stand in what is cut. Numbers of
# 200 digits or more (1e-300 is written out) are replaced by 0, because a cut number would be no JSON; words are taken
# from strings alone.
NORMALIZE_JSON_SQL = r"""
CREATE FUNCTION memories_normalize_json(given jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(
    regexp_replace(given::text, '([\s\[])-?\d[\d.]{199,}', '\1 0', 'g'),
    '[^[:space:]"\\]{255}', '\& ', 'g')::jsonb;
"""

# The words of a memory: summary, content, and the strings in its data.
SEARCH_VECTOR_SQL = """
CREATE FUNCTION memories_search_vector(content text, summary text, data jsonb) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('pg_catalog.english'::regconfig, memories_normalize_text(coalesce(summary || ' ', '') || content))
    || coalesce(
        jsonb_to_tsvector('pg_catalog.english'::regconfig, memories_normalize_json(data), '["string"]'),
        ''::tsvector
    );
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("sessions_app", "0003_foreign_keys")]
    operations = [
        migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS vector", migrations.RunSQL.noop),
        migrations.RunSQL(SHA256_SQL, "DROP FUNCTION memories_sha256(text)"),
        migrations.RunSQL(NORMALIZE_TEXT_SQL, "DROP FUNCTION memories_normalize_text(text)"),
        migrations.RunSQL(NORMALIZE_JSON_SQL, "DROP FUNCTION memories_normalize_json(jsonb)"),
        migrations.RunSQL(SEARCH_VECTOR_SQL, "DROP FUNCTION memories_search_vector(text, text, jsonb)"),
    ]
