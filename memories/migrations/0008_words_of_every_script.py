"""Words are found in every script, whatever locale the database was created with. Rewrites memories_memory once."""

from typing import Any

from django.db import migrations

#: Scripts that are written without spaces, and Korean, whose words carry particles: Thai, Lao, Burmese, Khmer, kana,
#: bopomofo, Han, Hangul.
SCRIPTS = (
    r"\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u3005-\u3007\u3040-\u30FA\u30FC-\u312F\u31F0-\u31FF\u3400-\u4DBF"
    r"\u4E00-\u9FFF\uAC00-\uD7A3\uF900-\uFAFF\U00020000-\U0003FFFF"
)
#: Accents, vowel points of Arabic and Hebrew, the tatweel, variation selectors, soft hyphens, characters of no width.
IGNORED_MARKS = (
    r"\u0300-\u036F\u0591-\u05BD\u05BF\u05C1\u05C2\u05C4\u05C5\u05C7\u0610-\u061A\u061C\u0640\u064B-\u065F\u0670"
    r"\u00AD\u180E\u200B-\u200F\u202A-\u202E\u2060-\u206F\uFE00-\uFE0F\uFEFF"
)
#: Superscript, circled and squared characters and №: their plain forms are letters and digits, but of no word beside them.
STANDING_ALONE = r"\u00B2\u00B3\u00B9\u2070-\u207E\u2116\u2460-\u24FF\u2776-\u2793\u3200-\u33FF"
#: Punctuation, symbols and spaces outside ASCII, as Unicode classes them: a database's own classes depend on its locale.
MARKS = (
    r"\u0080-\u00A9\u00AB-\u00B1\u00B4\u00B6-\u00B8\u00BB\u00BF\u00D7\u00F7\u02C2-\u02C5\u02D2-\u02DF"
    r"\u02E5-\u02EB\u02ED\u02EF-\u02FF\u0375\u037E\u0384-\u0385\u0387\u03F6\u0482\u055A-\u055F\u0589-\u058F"
    r"\u05BE\u05C0\u05C3\u05C6\u05F3-\u060F\u061B-\u061F\u066A-\u066D\u06D4\u06DE\u06E9\u06FD-\u06FE"
    r"\u0700-\u070D\u07F6-\u07F9\u07FE-\u07FF\u0830-\u083E\u085E\u0888\u0964-\u0965\u0970\u09F2-\u09F3"
    r"\u09FA-\u09FB\u09FD\u0A76\u0AF0-\u0AF1\u0B70\u0BF3-\u0BFA\u0C77\u0C7F\u0C84\u0D4F\u0D79\u0DF4\u0E3F\u0E4F"
    r"\u0E5A-\u0E5B\u0F01-\u0F17\u0F1A-\u0F1F\u0F34\u0F36\u0F38\u0F3A-\u0F3D\u0F85\u0FBE-\u0FC5\u0FC7-\u0FDA"
    r"\u104A-\u104F\u109E-\u109F\u10FB\u1360-\u1368\u1390-\u1399\u1400\u166D-\u166E\u1680\u169B-\u169C"
    r"\u16EB-\u16ED\u1735-\u1736\u17D4-\u17D6\u17D8-\u17DB\u1800-\u180A\u1940-\u1945\u19DE-\u19FF\u1A1E-\u1A1F"
    r"\u1AA0-\u1AA6\u1AA8-\u1AAD\u1B5A-\u1B6A\u1B74-\u1B7E\u1BFC-\u1BFF\u1C3B-\u1C3F\u1C7E-\u1C7F\u1CC0-\u1CC7"
    r"\u1CD3\u1FBD\u1FBF-\u1FC1\u1FCD-\u1FCF\u1FDD-\u1FDF\u1FED-\u1FEF\u1FFD-\u205F\u207A-\u207E\u208A-\u208E"
    r"\u20A0-\u20C0\u2100-\u2101\u2103-\u2106\u2108-\u2109\u2114\u2116-\u2118\u211E-\u2123\u2125\u2127\u2129"
    r"\u212E\u213A-\u213B\u2140-\u2144\u214A-\u214D\u214F\u218A-\u244A\u249C-\u24E9\u2500-\u2775\u2794-\u2BFF"
    r"\u2CE5-\u2CEA\u2CF9-\u2CFC\u2CFE-\u2CFF\u2D70\u2E00-\u2E2E\u2E30-\u3004\u3008-\u3020\u3030\u3036-\u3037"
    r"\u303D-\u303F\u309B-\u309C\u30A0\u30FB\u3190-\u3191\u3196-\u319F\u31C0-\u31E3\u3200-\u321E\u322A-\u3247"
    r"\u3250\u3260-\u327F\u328A-\u32B0\u32C0-\u33FF\u4DC0-\u4DFF\uA490-\uA4C6\uA4FE-\uA4FF\uA60D-\uA60F\uA673"
    r"\uA67E\uA6F2-\uA716\uA720-\uA721\uA789-\uA78A\uA828-\uA82B\uA836-\uA839\uA874-\uA877\uA8CE-\uA8CF"
    r"\uA8F8-\uA8FA\uA8FC\uA92E-\uA92F\uA95F\uA9C1-\uA9CD\uA9DE-\uA9DF\uAA5C-\uAA5F\uAA77-\uAA79\uAADE-\uAADF"
    r"\uAAF0-\uAAF1\uAB5B\uAB6A-\uAB6B\uABEB\uFB29\uFBB2-\uFBC2\uFD3E-\uFD4F\uFDCF\uFDFC-\uFDFF\uFE10-\uFE19"
    r"\uFE30-\uFE6B\uFF01-\uFF0F\uFF1A-\uFF20\uFF3B-\uFF40\uFF5B-\uFF65\uFFE0-\uFFFD\U0001EEF0-\U0001F0F5"
    r"\U0001F10D-\U0001FBCA"
)
#: Where pairs end, to stay below the largest tsvector (1 MB): 40,000 pairs, 100,000 characters and 64 KiB of data fit.
MAX_PAIRED_LENGTH = 40_000

# Letters as full-text search should compare them. The steps: compatibility forms (ＡＢＣ, ﬁ) become plain, accents go,
# letters that Unicode does not decompose become their base letters, punctuation and symbols become spaces: in a
# database with the C locale the parser takes each of them for a letter.
FOLD_LETTERS_SQL = rf"""
CREATE FUNCTION memories_fold_letters(given text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN octet_length(given) = length(given) THEN given ELSE
    regexp_replace(
        replace(replace(replace(replace(replace(replace(translate(
            normalize(regexp_replace(
                normalize(regexp_replace(given, '[{STANDING_ALONE}]', ' \& ', 'g'), NFKD),
                '[{IGNORED_MARKS}]', '', 'g'), NFKC),
            '‘’‛ʼ′‐ıςøØđĐłŁðÐ', '''''''''''-iσoOdDlLdD'),
            'ß', 'ss'), 'ẞ', 'SS'), 'æ', 'ae'), 'Æ', 'AE'), 'œ', 'oe'), 'Œ', 'OE'),
        '[{MARKS}]', ' ', 'g')
END;
"""

# Runs of such a script as overlapping pairs, joined by underscores so that a run is a phrase: 王小明 is 王小_小明_明. The last
# character stands alone too, so that every character begins a word. Words of other scripts inside a run stand apart.
PAIR_CHARACTERS_SQL = rf"""
CREATE FUNCTION memories_pair_characters(given text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN octet_length(given) = length(given) OR given !~ '[{SCRIPTS}]' THEN given ELSE
    regexp_replace(
        regexp_replace(
            left(given, {MAX_PAIRED_LENGTH}),
            '(?<=[{SCRIPTS}])(?=[^{SCRIPTS}\s])|(?<=[^{SCRIPTS}\s])(?=[{SCRIPTS}])', ' ', 'g'),
        '(?<=[{SCRIPTS}])([{SCRIPTS}])', '\1_\1', 'g')
    || substr(given, {MAX_PAIRED_LENGTH + 1})
END;
"""

# Text as the full-text parser should see it. Compound names and paths become words: getUserName, get_user_name and
# get.user.name three in a row, ZX-9912 two, ./srv/a.md three. The joint is an underscore and not a space, so that
# websearch_to_tsquery also reads such a name as one phrase. Runs of 255 characters without a space are cut: the parser's
# time grows with the square of a word's length (100,000 characters took 36 s).
NORMALIZE_TEXT_SQL = r"""
CREATE OR REPLACE FUNCTION memories_normalize_text(given text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(
    regexp_replace(
        regexp_replace(
            regexp_replace(
                memories_pair_characters(memories_fold_letters(given)),
                '[~<>]|(?<![[:alnum:]:])[.]*[/\\]+', ' ', 'g'),
            '([[:lower:][:digit:]])([[:upper:]])', '\1_\2', 'g'),
        '([[:alnum:]])([._:]*[/\\][._:/\\]*|[._:]+(?=[[:alpha:]])|-+(?=[[:digit:]]))', '\1_', 'g'),
    '\S{255}', '\& ', 'g');
"""

# A query as the parser should see it. A dash that joins no word is none of websearch_to_tsquery's exclusions, which fail
# when 33 of them follow each other; exclusions are parameters of their own (memories/search/words.py). The last
# character of a run alone is a word of texts only. A query of one such character finds every word that begins with it.
PARSE_QUERY_SQL = rf"""
CREATE FUNCTION memories_parse_query(query text) RETURNS tsquery
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(
    websearch_to_tsquery('pg_catalog.english'::regconfig, regexp_replace(
        regexp_replace(memories_normalize_text(query), '(?<![[:alnum:]])-+', ' ', 'g'),
        '(?<=[{SCRIPTS}])_[{SCRIPTS}](?![{SCRIPTS}_])', '', 'g'))::text,
    '(''[{SCRIPTS}]'')(?!:)', '\1:*', 'g')::tsquery;
"""

# The words of a memory: summary, content, and the strings in its data.
SEARCH_VECTOR_SQL = """
CREATE OR REPLACE FUNCTION memories_search_vector(content text, summary text, data jsonb) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('pg_catalog.english'::regconfig, memories_normalize_text(coalesce(summary || ' ', '') || content))
    || CASE WHEN data IS NULL OR data = '{}' THEN ''::tsvector ELSE to_tsvector(
        'pg_catalog.english'::regconfig,
        coalesce((
            SELECT memories_normalize_text(string_agg(value #>> '{}', E'\\n'))
            FROM jsonb_path_query(data, 'strict $.**') AS value WHERE jsonb_typeof(value) = 'string'
        ), '')
    ) END;
"""


def rewrite_words(apps: Any, schema_editor: Any) -> None:
    """Compute the words of all memories again. PostgreSQL 15 cannot change the expression of a column."""
    memory = apps.get_model("memories", "Memory")
    field = memory._meta.get_field("search_vector")
    index = next(index for index in memory._meta.indexes if index.name == "memory_words")
    schema_editor.remove_field(memory, field)
    schema_editor.add_field(memory, field)
    schema_editor.add_index(memory, index)


class Migration(migrations.Migration):
    dependencies = [("memories", "0007_expiring_of_user")]
    operations = [
        migrations.RunSQL(FOLD_LETTERS_SQL, "DROP FUNCTION memories_fold_letters(text)"),
        migrations.RunSQL(PAIR_CHARACTERS_SQL, "DROP FUNCTION memories_pair_characters(text)"),
        migrations.RunSQL(NORMALIZE_TEXT_SQL),
        migrations.RunSQL(PARSE_QUERY_SQL, "DROP FUNCTION memories_parse_query(text)"),
        migrations.RunSQL(SEARCH_VECTOR_SQL),
        migrations.RunSQL("DROP FUNCTION memories_normalize_json(jsonb)"),
        migrations.RunPython(rewrite_words),
    ]
