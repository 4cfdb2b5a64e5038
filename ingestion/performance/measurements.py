"""Store measurements."""

from collections.abc import Sequence
from uuid import UUID

from django.db.models.functions import Now

from ingestion.models import PerformanceMetric
from ingestion.schemas.performance import MeasurementIn


def store_measurements(namespace_id: int, measurements: Sequence[MeasurementIn]) -> list[UUID]:
    """Store all of them in one statement. Return their ids in the same order."""
    rows = [build_row(namespace_id, measurement) for measurement in measurements]
    PerformanceMetric.objects.bulk_create(rows)
    return [row.pk for row in rows]


def build_row(namespace_id: int, measurement: MeasurementIn) -> PerformanceMetric:
    fields = measurement.model_dump(exclude={"timestamp"})
    return PerformanceMetric(namespace_id=namespace_id, timestamp=measurement.timestamp or Now(), **fields)
