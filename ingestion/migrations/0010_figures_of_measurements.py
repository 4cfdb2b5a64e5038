"""The figures that the statistics read become columns."""

from django.db import migrations, models
from django.db.models import F, Func


def build_column(key: str) -> models.GeneratedField:
    number = f"least(greatest((%(expressions)s ->> '{key}')::numeric, 0), 1e15)::double precision"
    template = f"CASE jsonb_typeof(%(expressions)s -> '{key}') WHEN 'number' THEN {number} END"
    figure = Func(F("metrics"), template=template)
    return models.GeneratedField(expression=figure, output_field=models.FloatField(), db_persist=True)


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0009_performance_metrics")]
    operations = [
        migrations.AddField("PerformanceMetric", key, build_column(key))
        for key in ("latency_ms", "memory_mb", "error_count", "duration_seconds")
    ]
