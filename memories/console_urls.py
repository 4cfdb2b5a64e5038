"""URLs of the admin pages of memories. Outside `memories.admin`, whose import registers all its pages."""

from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from memories.models import Memory


def get_memory_url(memory: Memory) -> str:
    return reverse("admin:memories_memory_change", args=[memory.pk])


def build_list_query(**parameters: object) -> str:
    """Return the query string that filters the memories list by these values; None is left out."""
    return "?" + urlencode({name: str(value) for name, value in parameters.items() if value is not None})


def build_memories_url(**parameters: object) -> str:
    """Return the address of the memories list, filtered by these values."""
    return reverse("admin:memories_memory_changelist") + build_list_query(**parameters)


def get_user_page_url(namespace_id: int, user_id: str) -> str:
    parameters: dict[str, Any] = {"namespace": namespace_id, "user": user_id}
    return f"{reverse('admin:graph_usertotal_user')}?{urlencode(parameters)}"
