"""Progress of long work, stored in its row with a heartbeat."""

from typing import Any

from django.db.models import Model
from django.db.models.functions import Now


def update_progress(run: Model, **values: Any) -> None:
    """Set the values on the object and in its row, and note the time as the last sign of work."""
    for name, value in values.items():
        setattr(run, name, value)
    type(run)._base_manager.filter(pk=run.pk).update(**values, last_heartbeat_at=Now())
