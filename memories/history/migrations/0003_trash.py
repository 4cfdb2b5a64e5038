"""The console's list of the trash."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("history", "0002_keep_state")]
    operations = [
        migrations.CreateModel(
            "TrashedMemory",
            [],
            {"verbose_name": "deleted memory", "verbose_name_plural": "deleted memories", "proxy": True, "indexes": []},
            bases=("history.memoryversion",),
        ),
        migrations.AlterModelOptions("memoryversion", {"verbose_name": "change", "verbose_name_plural": "changes"}),
    ]
