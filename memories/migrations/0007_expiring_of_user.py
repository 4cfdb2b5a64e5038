"""The index by which a user's expired memories are subtracted from the totals.

Built concurrently, so that a store full of memories stays writable meanwhile.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("memories", "0006_memory_by_role")]

    operations = [
        # For a second try: a build that was interrupted leaves an invalid index.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS memory_expiring_of_user", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "memory",
            models.Index(
                F("namespace"),
                F("user_id"),
                F("expires_at"),
                condition=Q(expires_at__isnull=False, user_id__isnull=False),
                name="memory_expiring_of_user",
            ),
        ),
    ]
