"""Long work whose row tells everybody how far it is, and that somebody is still at it."""

from typing import Any

from django.db.models import Model
from django.db.models.functions import Now


def update_progress(run: Model, **values: Any) -> None:
    """In the row as well, where everybody sees how far it is."""
    for name, value in values.items():
        setattr(run, name, value)
    type(run).objects.filter(pk=run.pk).update(**values, last_heartbeat_at=Now())
