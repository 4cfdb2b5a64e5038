"""The search box of the memories list and the command palette: by id, by words and by meaning."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import F, Func, IntegerField, UUIDField, Value
from django.http import HttpRequest
from django.urls import reverse
from unfold.dataclasses import SearchResult

from memories.console_urls import build_list_query
from memories.embeddings import EmbeddingError
from memories.models import Memory, MemoryQuerySet
from memories.search.execute import find_memories
from memories.search.filters import Filters
from memories.search.query import Search
from memories.search.query_embedding import get_query_vector
from memory_site.core.admin.formatting import truncate
from memory_site.core.http.fields import check_storable, check_visible
from sessions_app.models import Namespace

MAX_QUERY_LENGTH = 4096
MAX_HITS, MAX_PALETTE_HITS = 100, 12
WORDS_ONLY_NOTE = "Found by words only, not by meaning: {}"
TRUNCATED_NOTE = f"Only the first {MAX_QUERY_LENGTH} characters were used."
UNSEARCHABLE_NOTE = "This text has no characters to search for."


@dataclass(frozen=True)
class SearchOutcome:
    """Hits of `find_memories`, best first, and notes for the reader about the search."""

    hits: list[dict[str, Any]]
    notes: tuple[str, ...] = ()


def search_with_notes(
    text: str, namespace_id: int | None = None, filters: Filters | None = None, limit: int = MAX_HITS
) -> SearchOutcome:
    """Search by words and meaning, or by words alone while the embedder is unavailable."""
    notes = (TRUNCATED_NOTE,) if len(text) > MAX_QUERY_LENGTH else ()
    text = text[:MAX_QUERY_LENGTH]
    try:
        check_visible(check_storable(text))
    except ValueError:
        return SearchOutcome([], (UNSEARCHABLE_NOTE,))
    model = namespace_id and Namespace.objects.values_list("embedding_model", flat=True).get(pk=namespace_id)
    try:
        vector = get_query_vector(text, model)
    except EmbeddingError as error:
        vector, notes = None, (*notes, WORDS_ONLY_NOTE.format(error))
    search = Search(text, vector, model, limit, operators=True)
    return SearchOutcome(find_memories(namespace_id, filters, search), notes)


def parse_uuid_or_none(text: str) -> UUID | None:
    """Return the text as an id, or None if it is none."""
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def order_by_rank(memories: MemoryQuerySet, outcome: SearchOutcome) -> MemoryQuerySet:
    """Select those of the memories that are hits, best first."""
    ids = [hit["memory"]["id"] for hit in outcome.hits]
    return memories.filter(pk__in=ids).order_by(array_position(ids)) if ids else memories.none()


def array_position(ids: list[UUID]) -> Func:
    """Return the expression of a row's position in the list of ids."""
    listed = Value(ids, output_field=ArrayField(UUIDField()))
    return Func(listed, F("pk"), function="array_position", output_field=IntegerField())


def search_palette(request: HttpRequest, text: str) -> list[SearchResult]:
    """Search for the command palette (Ctrl+K), if this user may view memories."""
    if not request.user.has_perm("memories.view_memory"):
        return []
    if (pk := parse_uuid_or_none(text)) and (memory := Memory.objects.alive().filter(pk=pk).first()):
        return [make_palette_entry(memory.pk, memory.content, memory.memory_type.replace("_", " "), "this id")]
    outcome = search_with_notes(text, limit=MAX_PALETTE_HITS)
    url = build_list_url(text)
    entries = [SearchResult(title=note, description="memories", link=url, icon="info") for note in outcome.notes]
    entries += [
        make_palette_entry(hit["memory"]["id"], hit["memory"]["content"], *describe_hit(hit)) for hit in outcome.hits
    ]
    if outcome.hits:
        entries.append(SearchResult("Show these in the list", "all matches", url, "list"))
    return entries


def make_palette_entry(pk: UUID, content: str, *facts: str) -> SearchResult:
    link = reverse("admin:memories_memory_change", args=[pk])
    return SearchResult(truncate(content, 110), " · ".join(facts), link, "neurology")


def describe_hit(hit: dict[str, Any]) -> tuple[str, str]:
    return hit["memory"]["memory_type"].replace("_", " "), f"{hit['score']:.2f} by {' and '.join(hit['found_by'])}"


def build_list_url(text: str) -> str:
    return reverse("admin:memories_memory_changelist") + build_list_query(q=text[:MAX_QUERY_LENGTH])
