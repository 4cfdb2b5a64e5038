"""Stored answers have their API key's namespace, as their first column: the table, which holds those of one day, is made
again."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from memory_site.core.db.migrations import foreign_key

COLUMNS = "api_key_id, key, fingerprint, status, body, created_at"
SAVE_SQL = f"CREATE TEMPORARY TABLE saved_answers AS SELECT {COLUMNS} FROM sessions_app_idempotentanswer"
RESTORE_SQL = f"""
INSERT INTO sessions_app_idempotentanswer (namespace_id, {COLUMNS})
SELECT namespace_id, {", ".join(f"answer.{column}" for column in COLUMNS.split(", "))}
FROM saved_answers answer JOIN sessions_app_apikey api_key ON api_key.id = answer.api_key_id
"""
RESTORE_EARLIER_SQL = f"INSERT INTO sessions_app_idempotentanswer ({COLUMNS}) SELECT {COLUMNS} FROM saved_answers"
DROP_SAVED_SQL = "DROP TABLE saved_answers"


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0008_locking_functions")]
    operations = [
        migrations.RunSQL(SAVE_SQL, [RESTORE_EARLIER_SQL, DROP_SAVED_SQL]),
        migrations.DeleteModel("IdempotentAnswer"),
        migrations.CreateModel(
            name="IdempotentAnswer",
            fields=[
                (
                    "namespace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="sessions_app.namespace",
                    ),
                ),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "api_key",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="sessions_app.apikey",
                    ),
                ),
                ("key", models.CharField(max_length=255)),
                ("fingerprint", models.BinaryField()),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("body", models.BinaryField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("namespace", "api_key", "key"), name="one_answer_per_idempotency_key"
                    )
                ],
            },
        ),
        migrations.RunSQL([RESTORE_SQL, DROP_SAVED_SQL], SAVE_SQL),
        foreign_key("sessions_app_idempotentanswer", "namespace_id", "sessions_app_namespace"),
    ]
