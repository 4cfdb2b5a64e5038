"""What a trigger deletes while its memory stays is no part of a deleted memory."""

from django.db import migrations

from memories.history.trigger_sql import KEEP_REFERENCE_SQL, KEEP_ROW_SQL


class Migration(migrations.Migration):
    dependencies = [("history", "0004_keep_key")]
    operations = [migrations.RunSQL(KEEP_ROW_SQL + KEEP_REFERENCE_SQL, migrations.RunSQL.noop)]
