from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("operations", "0002_seeded_schedules")]

    operations = [
        # One row for all workers; each notes its own within seconds.
        migrations.RunSQL("DELETE FROM operations_heartbeat", migrations.RunSQL.noop),
        migrations.AlterField(
            "heartbeat",
            "name",
            models.CharField(max_length=255, primary_key=True, serialize=False, help_text="Kind, host and process id."),
        ),
        migrations.AddField(
            "heartbeat",
            "kind",
            models.CharField(
                choices=[("web", "Web"), ("worker", "Worker"), ("beat", "Beat")], default="beat", max_length=16
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "heartbeat",
            "process",
            models.TextField(default="", help_text="What identifies it among those of all machines."),
        ),
        migrations.AddField(
            "heartbeat",
            "connections",
            models.PositiveIntegerField(default=0, help_text="Connections to the database that it may open."),
        ),
    ]
