"""Functions that the statements of history.py and their kin call, so that each is one statement."""

from django.db import migrations

# A timestamp as text of one fixed form: it sorts as the time does, and needs no parsing and no time zone to be compared.
FORMAT_TIMESTAMP_SQL = """
CREATE FUNCTION sessions_format_timestamp(moment timestamptz) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"');
"""

# Return the newest `most` interactions later than `oldest`, oldest first; of equal time in order of arrival. Of more
# than four megabytes the oldest are dropped as well, because every addition rewrites the whole history.
TRIM_HISTORY_SQL = """
CREATE FUNCTION sessions_trim_history(history jsonb, oldest timestamptz, most integer) RETURNS jsonb
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN (
    SELECT coalesce(jsonb_agg(interaction ORDER BY at, place), '[]')
    FROM (
        SELECT interaction, at, place, row_number() OVER newer AS rank,
               sum(octet_length(interaction::text)) OVER newer AS bytes
        FROM (
            SELECT interaction, interaction ->> 'timestamp' COLLATE "C" AS at, place
            FROM jsonb_array_elements(history) WITH ORDINALITY AS given(interaction, place)
            WHERE interaction ->> 'timestamp' COLLATE "C" > sessions_format_timestamp(oldest)
        ) young
        WINDOW newer AS (ORDER BY at DESC, place DESC ROWS UNBOUNDED PRECEDING)
    ) newest
    WHERE rank <= most AND (bytes <= 4 * 1024 * 1024 OR rank = 1)
);
"""

# Give interactions without a timestamp this one.
ADD_TIMESTAMPS_SQL = """
CREATE FUNCTION sessions_add_timestamps(added jsonb, moment timestamptz) RETURNS jsonb
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN (
    SELECT jsonb_agg(jsonb_build_object('timestamp', sessions_format_timestamp(moment)) || interaction ORDER BY place)
    FROM jsonb_array_elements(added) WITH ORDINALITY AS given(interaction, place)
);
"""


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0001_initial")]
    operations = [
        migrations.RunSQL(FORMAT_TIMESTAMP_SQL, "DROP FUNCTION sessions_format_timestamp(timestamptz)"),
        migrations.RunSQL(TRIM_HISTORY_SQL, "DROP FUNCTION sessions_trim_history(jsonb, timestamptz, integer)"),
        migrations.RunSQL(ADD_TIMESTAMPS_SQL, "DROP FUNCTION sessions_add_timestamps(jsonb, timestamptz)"),
    ]
