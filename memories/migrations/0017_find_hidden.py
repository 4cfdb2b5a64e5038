"""Indexes of the memories that are not active, which are few, and a check of the rows that were there before."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import F, Q

from memory_site.core.db.migrations import add_index_concurrently, validate_constraint

TABLE = "memories_memory"
IS_HIDDEN = ~Q(state="active")
INDEXES = (
    (
        models.Index(
            F("namespace"),
            F("state"),
            F("created_at").desc(),
            F("id").desc(),
            name="memory_hidden",
            condition=IS_HIDDEN,
        ),
        "(namespace_id, state, created_at DESC, id DESC) WHERE NOT (state = 'active')",
    ),
    (
        models.Index(F("namespace"), F("user_id"), name="memory_hidden_of_user", condition=IS_HIDDEN),
        "(namespace_id, user_id) WHERE NOT (state = 'active')",
    ),
    (
        models.Index(
            F("namespace"),
            F("superseded_by"),
            name="memory_successor",
            condition=Q(superseded_by__isnull=False),
        ),
        "(namespace_id, superseded_by) WHERE superseded_by IS NOT NULL",
    ),
)
CHECKS = import_module("memories.migrations.0016_memory_state").CHECKS


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("memories", "0016_memory_state")]
    operations = [
        *[validate_constraint(TABLE, name) for name in CHECKS],
        *[add_index_concurrently("memory", TABLE, *each) for each in INDEXES],
    ]
