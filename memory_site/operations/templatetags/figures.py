"""Formats of numbers and times in the console's own templates."""

from datetime import datetime

from django import template
from django.utils.safestring import SafeString

from memory_site.core.admin.formatting import format_datetime, format_number

register = template.Library()


@register.filter
def grouped(value: int | str) -> str:
    """Return a number with its digits in groups; a text as it is."""
    return format_number(value) if isinstance(value, int) else value


@register.filter
def distance(moment: datetime | None) -> SafeString | None:
    """Return how long ago a moment was, or how far ahead it is, with the moment as its tooltip."""
    return format_datetime(moment)
