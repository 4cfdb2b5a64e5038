"""The words of clusters follow the words of memories. Rewrites knowledge_cluster once."""

from typing import Any

from django.db import migrations


def rewrite_words(apps: Any, schema_editor: Any) -> None:
    """Compute the words of all clusters again. PostgreSQL 15 cannot change the expression of a column."""
    cluster = apps.get_model("knowledge", "Cluster")
    field = cluster._meta.get_field("words")
    indexes = [index for index in cluster._meta.indexes if "words" in str(index.expressions) or "words" in index.fields]
    schema_editor.remove_field(cluster, field)
    schema_editor.add_field(cluster, field)
    for index in indexes:
        schema_editor.add_index(cluster, index)


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0005_cluster_ids"), ("memories", "0008_words_of_every_script")]
    operations = [migrations.RunPython(rewrite_words)]
