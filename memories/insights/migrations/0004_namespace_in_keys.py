"""The indexes for the foreign keys of insights begin with the namespace, and leave out the insights without a source."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q


def index(field: str) -> models.Index:
    return models.Index(F("namespace"), F(field), condition=Q((f"{field}__isnull", False)), name=f"insight_{field}")


def key(to: str) -> models.ForeignKey:
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        null=True,
        on_delete=django.db.models.deletion.DO_NOTHING,
        related_name="insights",
        to=to,
    )


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("insights", "0003_functions")]
    operations = [
        # For a second try: a build that was interrupted leaves an invalid index.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS insight_source_memory", migrations.RunSQL.noop),
        AddIndexConcurrently("insight", index("source_memory")),
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS insight_conversation", migrations.RunSQL.noop),
        AddIndexConcurrently("insight", index("conversation")),
        migrations.AlterField("insight", "source_memory", key("memories.memory")),
        migrations.AlterField("insight", "conversation", key("sessions_app.conversation")),
    ]
