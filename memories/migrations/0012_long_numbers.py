from django.db import migrations

# Strings are cut where they go on for 255 characters, but a number that is (1e-300 is written out) must stay one: it is
# left out, since words are taken from strings alone.
STRINGS = r"""
CREATE OR REPLACE FUNCTION memories_normalize_json(given jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(
    regexp_replace(given::text, '([\s\[])-?\d[\d.]{199,}', '\1 0', 'g'),
    '[^[:space:]"\\]{255}', '\& ', 'g')::jsonb;
"""
BEFORE = r"""
CREATE OR REPLACE FUNCTION memories_normalize_json(given jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(given::text, '[^[:space:]"\\]{255}', '\& ', 'g')::jsonb;
"""


class Migration(migrations.Migration):
    dependencies = [("memories", "0011_room_for_uses")]
    operations = [migrations.RunSQL(STRINGS, BEFORE)]
