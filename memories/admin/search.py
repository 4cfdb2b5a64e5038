"""The search box of the memories list and the command palette: by id, by words and meaning, by text or pattern."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import F, Func, IntegerField, UUIDField, Value
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.html import format_html
from unfold.dataclasses import SearchResult

from memories.admin.excerpts import build_word_pattern
from memories.admin.parameters import AFTER_PARAMETER, MODE_PARAMETER, SEARCH_PARAMETER, read_selection
from memories.console_urls import build_list_query
from memories.embeddings import EmbeddingError
from memories.models import Memory, MemoryQuerySet
from memories.search.execute import find_memories
from memories.search.filters import Filters
from memories.search.floor import build_floor
from memories.search.query import PLAIN_RANKING, Search
from memories.search.query_embedding import get_query_vector
from memories.search.selection import LITERAL, PATTERN, Selection
from memories.search.text_scan import Place, Scan, count_in_time, scan_memories
from memory_site.core.admin.base import MAX_COUNTED_ROWS
from memory_site.core.admin.formatting import format_number, truncate
from memory_site.core.http.fields import check_storable, check_visible
from sessions_app.models import Namespace

MAX_QUERY_LENGTH = 4096
MAX_HITS, MAX_PALETTE_HITS = 100, 12
WORDS_ONLY_NOTE = "Found by words only, not by meaning: {}"
TRUNCATED_NOTE = f"Only the first {MAX_QUERY_LENGTH} characters were used."
UNSEARCHABLE_NOTE = "This text has no characters to search for."
STOPPED_NOTE = (
    'Looked at the newest {} memories, back to {}; older ones were not reached. <a href="{}" class="underline">'
    "Continue with older ones</a>, or filter the list."
)
FULL_NOTE = 'These are the newest {} matches. <a href="{}" class="underline">Continue with older ones</a>'
SLOW_PATTERN_NOTE = "This pattern takes too long: filter the list, or look for a simpler one."
SMART = "smart"
#: Label and explanation of each mode.
SEARCH_MODES = {
    SMART: ("Smart", 'by words and meaning, best first; "phrase" requires, -word excludes'),
    LITERAL: ("Exact text", "this text in content, summary, data or metadata, newest first"),
    PATTERN: ("Pattern", "a regular expression in content, summary, data or metadata, newest first"),
}


@dataclass(frozen=True)
class SearchOutcome:
    """Hits of `find_memories`, best first, and notes for the reader about the search."""

    hits: list[dict[str, Any]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundRows:
    """What the list shows: its rows; the hits of a search by meaning, and the words to mark in them; the selection of a
    search by text; notes for the reader; the number of rows, up to one more than MAX_COUNTED_ROWS, if it is known."""

    rows: MemoryQuerySet
    hits: list[dict[str, Any]] = field(default_factory=list)
    wanted_words: re.Pattern[str] | None = None
    text_selection: Selection | None = None
    notes: tuple[str, ...] = ()
    count: int | None = None


def is_search(request: HttpRequest) -> bool:
    return bool(request.GET.get(SEARCH_PARAMETER, "").strip())


def is_search_by_meaning(request: HttpRequest) -> bool:
    return is_search(request) and request.GET.get(MODE_PARAMETER) not in (LITERAL, PATTERN)


def describe_modes(parameters: dict[str, str]) -> list[dict[str, Any]]:
    """Return the modes of the search box, and which of them is chosen."""
    chosen = parameters.get(MODE_PARAMETER)
    chosen = chosen if chosen in SEARCH_MODES else SMART
    return [
        {"value": value, "label": label, "help": help_text, "is_chosen": value == chosen}
        for value, (label, help_text) in SEARCH_MODES.items()
    ]


def find_in_list(parameters: QueryDict, text: str, rows: MemoryQuerySet) -> FoundRows:
    """Return what the list shows for its query string. Raises ValueError, with a text to display, for a wrong one."""
    selection = read_selection(parameters)
    if selection.text:
        return scan_list(selection, parameters, rows)
    if not text:
        return find_by_filters(selection, parameters, rows)
    outcome = search_with_notes(text, selection.namespace_id, selection.search_filters)
    found = order_by_rank(selection.narrow(rows), outcome)
    return FoundRows(found, outcome.hits, build_word_pattern(text), notes=outcome.notes)


def find_by_filters(selection: Selection, parameters: QueryDict, rows: MemoryQuerySet) -> FoundRows:
    """Return the rows; of those that cannot be counted in time, the newest that a scan finds."""
    found = selection.narrow(rows)
    if not selection.is_slow:
        return FoundRows(found)
    count = None if parameters.get(AFTER_PARAMETER) else count_in_time(found, MAX_COUNTED_ROWS + 1)
    return scan_list(selection, parameters, rows) if count is None else FoundRows(found, count=count)


def scan_list(selection: Selection, parameters: QueryDict, rows: MemoryQuerySet) -> FoundRows:
    scan = scan_memories(selection, after=read_place(parameters.get(AFTER_PARAMETER, "")))
    selected = selection if selection.text else None
    return FoundRows(scan.find_hits(rows), text_selection=selected, notes=tuple(describe_scan(scan, parameters)))


def read_place(text: str) -> Place | None:
    """Return the place behind which a scan goes on; None for what is none."""
    moment, _, pk = text.partition("~")
    try:
        created_at = datetime.fromisoformat(moment)
        return Place(created_at, UUID(pk)) if created_at.tzinfo else None
    except ValueError:
        return None


def describe_scan(scan: Scan, parameters: QueryDict) -> Iterator[str]:
    """Yield what the reader must know: that a search stopped before its end, and the link that continues it."""
    if scan.timed_out:
        yield SLOW_PATTERN_NOTE
    if scan.is_complete or scan.reached is None:
        return
    url = build_continuation(scan.reached, parameters)
    if scan.is_full:
        yield format_html(FULL_NOTE, format_number(len(scan.hits)), url)
    elif scan.rows_read:
        yield format_html(STOPPED_NOTE, format_number(scan.rows_read), f"{scan.reached.created_at:%Y-%m-%d %H:%M}", url)


def build_continuation(place: Place, parameters: QueryDict) -> str:
    changed = parameters.copy()
    changed.pop("p", None)
    changed[AFTER_PARAMETER] = f"{place.created_at.isoformat()}~{place.id}"
    return f"?{changed.urlencode()}"


def search_with_notes(
    text: str, namespace_id: int | None = None, filters: Filters | None = None, limit: int = MAX_HITS
) -> SearchOutcome:
    """Search by words and meaning, or by words alone while the embedder is unavailable. What has neither the query's
    words nor its meaning is left out (memories/search/floor.py)."""
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
    floor = build_floor(None, text, model, by_meaning=vector is not None)
    ranking = floor.apply(PLAIN_RANKING, by_words=True)
    search = Search(text, vector, model, limit, ranking=ranking, operators=True)
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
