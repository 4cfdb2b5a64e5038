"""Progress of long work, stored in its row with a heartbeat."""

from typing import Any

from django.db.models.functions import Now


def update_progress(run: Any, **values: Any) -> None:
    """Set the values on the object, one with a namespace, and in its row; note the time as the last sign of work."""
    for name, value in values.items():
        setattr(run, name, value)
    rows = type(run)._base_manager.filter(namespace=run.namespace_id, pk=run.pk)
    rows.update(**values, last_heartbeat_at=Now())
