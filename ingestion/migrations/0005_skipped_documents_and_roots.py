from django.db import migrations, models

# At most a hundred were kept of each run; of those before this, no more is known.
COUNT = "UPDATE ingestion_ingestion SET documents_skipped = jsonb_array_length(skipped)"


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0004_workflow_rules")]
    operations = [
        migrations.AddField("ingestion", "documents_skipped", models.PositiveIntegerField(default=0)),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
        # Of runs before this nobody knows who asked for them, so the roots bind them all.
        migrations.AddField(
            "ingestion",
            "within_roots",
            models.BooleanField(default=True, help_text="Only while its folder lies inside INGESTION_ROOTS."),
        ),
    ]
