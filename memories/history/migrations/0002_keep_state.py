"""Versions keep the state of a memory and what replaced it, so that both are undone with the rest."""

from django.db import migrations

from memories.history.trigger_sql import FIRST_COLUMNS, STATE_COLUMNS, keep_columns


class Migration(migrations.Migration):
    dependencies = [("history", "0001_initial"), ("memories", "0016_memory_state")]
    operations = [keep_columns((*FIRST_COLUMNS, *STATE_COLUMNS), FIRST_COLUMNS)]
