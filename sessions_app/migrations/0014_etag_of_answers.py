from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0013_use_of_keys")]
    operations = [
        migrations.AddField("idempotentanswer", "etag", models.CharField(db_default="", max_length=64)),
    ]
