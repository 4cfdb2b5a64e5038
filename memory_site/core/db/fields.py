"""Generated columns."""

from django.db import models
from django.db.models import F, Func


def duration_field(start: str, end: str) -> models.GeneratedField:
    """Return a column of the seconds between two times of its row; null while one of them is."""
    seconds = Func(F(end), F(start), template="EXTRACT(EPOCH FROM %(expressions)s)::double precision", arg_joiner=" - ")
    return models.GeneratedField(expression=seconds, output_field=models.FloatField(), db_persist=True)
