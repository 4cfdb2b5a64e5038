"""The first tab of a memory's page: what it says on the left, what is known of it on the right."""

import json
from typing import Any

from django.utils.safestring import SafeString

from memories.admin.memory_page.neighbours import FEW_NEIGHBOURS, build_vector_context
from memories.admin.memory_page.origins import find_origins
from memories.admin.memory_page.use import build_use_context
from memories.admin.relationships import build_relationships_context
from memories.console_urls import build_list_query, get_user_page_url
from memories.memory_types import MemoryType
from memories.models import LABEL_FIELDS, Memory
from memory_site.core.admin.folding import render_text
from memory_site.core.admin.formatting import format_datetime
from memory_site.core.admin.json_view import render_json

FEW_RELATIONSHIPS = 5


def build_overview_context(memory: Memory, *, with_relationships: bool) -> dict[str, Any]:
    related = build_relationships_context(memory, FEW_RELATIONSHIPS) if with_relationships else {}
    return {
        "content": render_content(memory.content),
        "data": None if memory.data is None else render_json(memory.data),
        "data_first": memory.memory_type == MemoryType.TOOL_OUTPUT and memory.data is not None,
        "metadata": render_json(memory.metadata) if memory.metadata else None,
        "created": format_datetime(memory.created_at),
        "updated": format_datetime(memory.updated_at),
        "links": build_links(memory),
        "user_url": memory.user_id and get_user_page_url(memory.namespace_id, memory.user_id),
        "insight": memory.memory_type == MemoryType.INSIGHT and getattr(memory, "insight", None),
        "origins": find_origins(memory),
        **build_use_context(memory),
        **build_vector_context(memory, FEW_NEIGHBOURS),
        **related,
    }


def render_content(text: str) -> SafeString:
    """Render a text as it is, unless all of it is JSON."""
    value = parse_container(text)
    return render_text(text) if value is None else render_json(value)


def parse_container(text: str) -> dict | list | None:
    """Return a JSON object or array that is the whole text, or None."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def build_links(memory: Memory) -> list[dict[str, str]]:
    """Build a link to the namespace's memories, and one per label to those with the same label."""
    links = [("namespace", "namespace", memory.namespace_id, memory.namespace.name)]
    fields = ("memory_type", "source_system", "entity_system", *LABEL_FIELDS)
    links += [(Memory._meta.get_field(name).verbose_name, name, *[getattr(memory, name)] * 2) for name in fields]
    links += [("tag", "tag", tag, tag) for tag in memory.tags]
    links.append(("key", "key", memory.key, memory.key))
    return [
        {
            "name": str(name),
            "value": text,
            "query": build_list_query(**{"namespace": memory.namespace_id, parameter: value}),
        }
        for name, parameter, value, text in links
        if value is not None
    ]
