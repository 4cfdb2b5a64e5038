"""The embedding queue is claimed from namespace by namespace."""

from django.db import migrations, models
from django.db.models import F


class Migration(migrations.Migration):
    dependencies = [("memories", "0008_words_of_every_script")]
    operations = [
        migrations.RemoveIndex("dueembedding", "embedding_due"),
        migrations.AddIndex("dueembedding", models.Index(F("namespace"), F("due_at"), name="embedding_due")),
    ]
