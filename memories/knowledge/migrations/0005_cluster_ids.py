"""Ids of clusters without uuidv7(), which PostgreSQL has since version 18 only."""

from importlib import import_module

from django.db import migrations

EARLIER = import_module("memories.knowledge.migrations.0004_cluster_functions").ENSURE_CLUSTER_SQL

# As `memory_site.core.db.ids.uuid7` makes them, without the fraction of the millisecond: 48 bits of milliseconds in
# front of random ones, and the version: 7 instead of 4 sets two bits more.
UUID7_SQL = """
CREATE FUNCTION knowledge_uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(
    set_bit(set_bit(
        overlay(
            uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
        ),
        52, 1), 53, 1),
    'hex')::uuid;
"""


def replace_function(sql: str) -> str:
    return sql.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0004_cluster_functions")]
    operations = [
        migrations.RunSQL(UUID7_SQL, "DROP FUNCTION knowledge_uuid7()"),
        migrations.RunSQL(
            replace_function(EARLIER).replace("uuidv7()", "knowledge_uuid7()"), replace_function(EARLIER)
        ),
    ]
