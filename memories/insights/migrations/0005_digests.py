from django.db import migrations, models
from django.db.models.functions import Length
from django.db.models.lookups import Exact


class Migration(migrations.Migration):
    dependencies = [("insights", "0004_visible_projects")]
    operations = [
        migrations.AddConstraint(
            "insight",
            models.CheckConstraint(condition=Exact(Length("digest"), 32), name="insight_digest_is_a_sha256"),
        )
    ]
