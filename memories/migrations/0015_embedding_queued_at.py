"""Since when a memory waits for its vector: `due_at` moves with each attempt."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [
        ("memories", "0014_denser_vector_index"),
    ]

    operations = [
        migrations.AddField("dueembedding", "queued_at", models.DateTimeField(db_default=Now())),
    ]
