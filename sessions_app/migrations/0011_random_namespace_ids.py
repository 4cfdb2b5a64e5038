"""The application makes the ids of namespaces: no two databases give out the same."""

from django.db import migrations, models

import memory_site.core.db.ids


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0010_namespace_in_keys")]
    operations = [
        migrations.AlterField(
            model_name="namespace",
            name="id",
            field=models.BigIntegerField(
                default=memory_site.core.db.ids.make_random_id, editable=False, primary_key=True, serialize=False
            ),
        ),
    ]
