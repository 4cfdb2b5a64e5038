"""Addresses of the console's pages of memories. Outside `memories.admin`, whose import registers all its pages."""

from django.http import QueryDict
from django.urls import reverse
from django.utils.datastructures import MultiValueDict

from memories.models import Memory


def get_memory_url(memory: Memory) -> str:
    return reverse("admin:memories_memory_change", args=[memory.pk])


def build_list_query(**parameters: object) -> str:
    """The query of the memories list narrowed to these values."""
    query = QueryDict(mutable=True)
    query.update(MultiValueDict({name: [str(value)] for name, value in parameters.items() if value is not None}))
    return f"?{query.urlencode()}"
