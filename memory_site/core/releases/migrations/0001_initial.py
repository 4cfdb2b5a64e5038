from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Now


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="DatabaseRelease",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ("release", models.CharField(help_text="The release that migrated the database last.", max_length=32)),
                (
                    "oldest_release",
                    models.CharField(help_text="The oldest release whose processes may use it.", max_length=32),
                ),
                ("migrated_at", models.DateTimeField(db_default=Now())),
            ],
            options={"constraints": [models.CheckConstraint(condition=Q(("id", 1)), name="database_has_one_release")]},
        ),
    ]
