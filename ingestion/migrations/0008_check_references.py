"""The last of three steps (0006_build_keys): check that the references that were there before hold."""

from importlib import import_module

from django.db import migrations

from memory_site.core.db.migrations import name_foreign_key, validate_constraint

REFERENCES = import_module("ingestion.migrations.0007_change_keys").REFERENCES


class Migration(migrations.Migration):
    atomic = False  # so that the lock of one check ends before the next
    dependencies = [("ingestion", "0007_change_keys")]
    operations = [
        validate_constraint(table, name_foreign_key(table, column, on_delete))
        for table, column, _, on_delete in REFERENCES
    ]
