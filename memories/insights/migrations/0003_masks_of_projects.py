from django.db import migrations, models
from django.db.models import Value


def masks() -> models.JSONField:
    return models.JSONField(db_default=Value({}, models.JSONField()), editable=False)


class Migration(migrations.Migration):
    dependencies = [("insights", "0002_references")]
    operations = [
        migrations.AddField("projectgroup", "masks", masks()),
        migrations.AddField("projectdependency", "masks", masks()),
    ]
