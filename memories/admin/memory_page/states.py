"""A memory that another one has replaced: what its page says, and the way back."""

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.db.models.functions import Left
from django.http import HttpRequest

from memories import tasks
from memories.admin.memory_page.origins import MAX_WORDS, Origin, register_origin
from memories.console_urls import get_memory_url
from memories.models import Memory
from memories.states import State
from memories.supersede import make_active
from memory_site.core.admin.formatting import truncate
from memory_site.core.errors import Conflict

MAX_REPLACED = 10


def build_state_context(memory: Memory) -> dict[str, Any]:
    """Return the words and the page of what has replaced it. No statement for an active memory."""
    if memory.state == State.ACTIVE:
        return {"is_active": True}
    successors = Memory.objects.filter(namespace=memory.namespace_id, pk=memory.superseded_by)
    words = successors.annotate(words=Left("content", MAX_WORDS)).values_list("words", flat=True).first()
    return {
        "is_active": False,
        "successor_words": truncate(words, MAX_WORDS) if words else None,
        "successor_url": get_memory_url(Memory(pk=memory.superseded_by)),
    }


def reactivate(request: HttpRequest, memory: Memory) -> str | None:
    """Have a superseded memory found again. Return words for the log, or None."""
    try:
        make_active(memory.namespace_id, memory.pk)
    except Conflict as error:
        messages.error(request, str(error))
        return None
    tasks.embedding_trigger.notify_on_commit()
    messages.success(request, "The memory is found again; what had replaced it stays as it is.")
    return "Made active"


@register_origin
def find_replaced(memory: Memory) -> Iterator[Origin]:
    replaced = Memory.objects.filter(namespace=memory.namespace_id, superseded_by=memory.pk).order_by("-created_at")
    rows = replaced.annotate(words=Left("content", MAX_WORDS)).values_list("pk", "words")
    for pk, words in rows[:MAX_REPLACED]:
        yield Origin("Replaces", truncate(words, MAX_WORDS), get_memory_url(Memory(pk=pk)))
