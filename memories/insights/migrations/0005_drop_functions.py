"""The projects that a project sees are a subquery of its searches (memories/projects/visibility.py)."""

from importlib import import_module

from django.db import migrations

VISIBLE_PROJECTS_SQL = import_module("memories.insights.migrations.0003_functions").VISIBLE_PROJECTS_SQL


class Migration(migrations.Migration):
    dependencies = [("insights", "0004_namespace_in_keys")]
    operations = [
        migrations.RunSQL("DROP FUNCTION insights_visible_projects(bigint, varchar[])", VISIBLE_PROJECTS_SQL),
    ]
