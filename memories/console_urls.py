"""URLs of the admin pages of memories. Outside `memories.admin`, whose import registers all its pages."""

from django.urls import reverse
from django.utils.http import urlencode

from memories.models import Memory


def get_memory_url(memory: Memory) -> str:
    return reverse("admin:memories_memory_change", args=[memory.pk])


def build_list_query(**parameters: object) -> str:
    """Return the query string that filters the memories list by these values; None is left out."""
    return "?" + urlencode({name: str(value) for name, value in parameters.items() if value is not None})
