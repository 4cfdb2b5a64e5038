"""Versions keep the key of a memory."""

from django.db import migrations

from memories.history.trigger_sql import FIRST_COLUMNS, KEY_COLUMNS, STATE_COLUMNS, keep_columns

EARLIER = (*FIRST_COLUMNS, *STATE_COLUMNS)


class Migration(migrations.Migration):
    dependencies = [("history", "0003_trash"), ("memories", "0018_memory_key")]
    operations = [keep_columns((*EARLIER, *KEY_COLUMNS), EARLIER)]
