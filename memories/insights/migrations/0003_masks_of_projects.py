from django.db import migrations, models
from django.db.models import Value


def redacted_names() -> models.JSONField:
    return models.JSONField(db_default=Value({}, models.JSONField()), editable=False)


class Migration(migrations.Migration):
    dependencies = [("insights", "0002_references")]
    operations = [
        migrations.AddField("projectgroup", "redacted_names", redacted_names()),
        migrations.AddField("projectdependency", "redacted_names", redacted_names()),
    ]
