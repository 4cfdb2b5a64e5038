from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("operations", "0006_maintenance_reports")]
    operations = [
        migrations.AddField(
            "heartbeat",
            "session_key",
            models.CharField(
                db_default="",
                help_text="The name of the key with which it encrypts histories; empty for none.",
                max_length=8,
            ),
        ),
    ]
