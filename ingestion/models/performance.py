"""Measurements of performance."""

from django.db import models
from django.db.models import F, Func
from django.db.models.functions import Now

from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedModel
from sessions_app.models import namespace_key

#: Types whose measurements have known fields (`ingestion.schemas.performance`) and are counted by the statistics.
ADAPTER_HEALTH, WORKFLOW_EXECUTION = "adapter_health", "workflow_execution"


def figure_field(key: str) -> models.GeneratedField:
    """Return a column of a number in `metrics`, null where it is none, from 0 to 10^15.

    The API checks the fields of known types. An import, or another program, may have stored anything.
    """
    value = f"%(expressions)s -> '{key}'"
    number = f"least(greatest((%(expressions)s ->> '{key}')::numeric, 0), 1e15)::double precision"
    figure = Func(F("metrics"), template=f"CASE jsonb_typeof({value}) WHEN 'number' THEN {number} END")
    return models.GeneratedField(expression=figure, output_field=models.FloatField(), db_persist=True)


class PerformanceMetricQuerySet(models.QuerySet["PerformanceMetric"]):
    def in_namespace(self, namespace_id: int) -> "PerformanceMetricQuerySet":
        return self.filter(namespace_id=namespace_id)


class PerformanceMetric(NamespacedModel):
    """One measurement of a component at a moment, such as the health of an adapter, as its caller reported it."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    component = models.CharField(max_length=255, help_text="What was measured.")
    metric_type = models.CharField("type", max_length=255)
    metrics = models.JSONField(default=dict)
    timestamp = models.DateTimeField("measured", db_default=Now())
    # What the statistics read: a column takes a fifth of the time of an expression.
    latency_ms = figure_field("latency_ms")
    memory_mb = figure_field("memory_mb")
    error_count = figure_field("error_count")
    duration_seconds = figure_field("duration_seconds")

    objects = PerformanceMetricQuerySet.as_manager()

    class Meta:
        verbose_name = "measurement"
        # No BRIN index for the retention: the console sorts by time, and its index serves both.
        indexes = [
            models.Index(
                F("namespace"), F("component"), F("timestamp").desc(), F("id").desc(), name="metric_of_component"
            ),
            models.Index(F("namespace"), F("timestamp").desc(), F("id").desc(), name="metric_newest"),
            models.Index(F("timestamp").desc(), F("id").desc(), name="metric_newest_of_all"),
        ]

    def __str__(self) -> str:
        return f"{self.component}, {self.metric_type}, {self.timestamp:%Y-%m-%d %H:%M}"
