"""The console's search box and command palette: by id, by words and by meaning."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import F, Func, IntegerField, UUIDField, Value
from django.http import HttpRequest
from django.urls import reverse
from unfold.dataclasses import SearchResult

from memories.admin.addresses import address
from memories.embeddings import EmbeddingError
from memories.models import Memory, MemoryQuerySet
from memories.search.execute import find
from memories.search.filters import Filters
from memories.search.query import Search
from memories.search.query_embedding import query_vector
from memory_site.core.admin.formatting import shortened
from memory_site.core.http.fields import storable, visible
from sessions_app.models import Namespace

QUERY_LENGTH = 4096
HITS, HITS_IN_PALETTE = 100, 12
WORDS_ONLY = "Found by words only, not by meaning: {}"
CUT = f"Only the first {QUERY_LENGTH} characters were searched for."
UNSEARCHABLE = "There is nothing in this text to search for."


@dataclass(frozen=True)
class Found:
    """Hits (as `find` gives them, best first), and what the reader must know about how they were found."""

    hits: list[dict[str, Any]]
    notes: tuple[str, ...] = ()


def search(text: str, namespace_id: int | None = None, filters: Filters | None = None, limit: int = HITS) -> Found:
    """The memories that match best by words and by meaning; by words alone while the embedder is away."""
    notes = (CUT,) if len(text) > QUERY_LENGTH else ()
    text = text[:QUERY_LENGTH]
    try:
        visible(storable(text))
    except ValueError:
        return Found([], (UNSEARCHABLE,))
    model = namespace_id and Namespace.objects.values_list("embedding_model", flat=True).get(pk=namespace_id)
    try:
        vector = query_vector(text, model)
    except EmbeddingError as error:
        vector, notes = None, (*notes, WORDS_ONLY.format(error))
    return Found(find(namespace_id, filters, Search(text, vector, model, limit)), notes)


def written_id(text: str) -> UUID | None:
    """The id that the whole text is, if it is one."""
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def ranked(memories: MemoryQuerySet, found: Found) -> MemoryQuerySet:
    """Those of the memories that were found, best first."""
    ids = [hit["memory"]["id"] for hit in found.hits]
    return memories.filter(pk__in=ids).order_by(position(ids)) if ids else memories.none()


def position(ids: list[UUID]) -> Func:
    """A row's place in the list of ids."""
    listed = Value(ids, output_field=ArrayField(UUIDField()))
    return Func(listed, F("pk"), function="array_position", output_field=IntegerField())


def palette(request: HttpRequest, text: str) -> list[SearchResult]:
    """What Ctrl+K finds among the memories this user may see."""
    if not request.user.has_perm("memories.view_memory"):
        return []
    if (pk := written_id(text)) and (memory := Memory.objects.alive().filter(pk=pk).first()):
        return [result(memory.pk, memory.content, memory.memory_type.replace("_", " "), "this id")]
    found = search(text, limit=HITS_IN_PALETTE)
    entries = [SearchResult(title=note, description="memories", link=listed(text), icon="info") for note in found.notes]
    entries += [result(hit["memory"]["id"], hit["memory"]["content"], *described(hit)) for hit in found.hits]
    if found.hits:
        entries.append(SearchResult("Show these in the list", "all matches", listed(text), "list"))
    return entries


def result(pk: UUID, content: str, *facts: str) -> SearchResult:
    link = reverse("admin:memories_memory_change", args=[pk])
    return SearchResult(shortened(content, 110), " · ".join(facts), link, "neurology")


def described(hit: dict[str, Any]) -> tuple[str, str]:
    return hit["memory"]["memory_type"].replace("_", " "), f"{hit['score']:.2f} by {' and '.join(hit['found_by'])}"


def listed(text: str) -> str:
    return reverse("admin:memories_memory_changelist") + address(q=text[:QUERY_LENGTH])
