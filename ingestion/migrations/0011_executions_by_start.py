"""Workflow runs of all namespaces by their start, for the console's list."""

from django.db import migrations, models
from django.db.models import F

from memory_site.core.db.migrations import add_index_concurrently

INDEX = models.Index(F("started_at").desc(), F("id").desc(), name="execution_started_of_all")


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [
        ("ingestion", "0010_figures_of_measurements"),
        ("memories", "0017_find_hidden"),
        ("sessions_app", "0012_erased_namespaces"),
    ]
    operations = [
        add_index_concurrently("workflowexecution", "ingestion_workflowexecution", INDEX, "(started_at DESC, id DESC)")
    ]
