"""The columns of the memories list. Only the fields of those that are shown are loaded."""

from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from memories.admin.embedding_states import EMBEDDING_STATE_COLOURS, EMBEDDING_STATE_LABELS, get_embedding_state
from memories.admin.excerpts import find_excerpts, render_marked
from memories.console_urls import build_list_query
from memories.graph.models import Relationship
from memories.models import Memory
from memories.search.selection import EMBEDDED
from memory_site.core.admin.formatting import format_datetime, render_two_lines, truncate

MAX_LIST_PREVIEW_LENGTH, MAX_SHOWN_TAGS = 160, 4
#: The fields that each column reads; `beginning` reads `content_beginning`, an annotation.
COLUMN_FIELDS = {
    "beginning": ("pk",),
    "kind": ("memory_type",),
    "user_id": ("user_id",),
    "source": ("source_system",),
    "tag_list": ("tags",),
    "level": ("importance",),
    "embedded": ("due__error",),
    "created": ("created_at",),
    "summary_beginning": ("summary",),
    "uses": ("access_count",),
    "key": ("key",),
    "entity": ("entity_system", "entity_id", "entity_type", "entity_name"),
    "relationships": ("pk",),
    "confidence": ("confidence",),
    "agent_id": ("agent_id",),
    "workflow_id": ("workflow_id",),
    "repo_id": ("repo_id",),
    "session_id": ("session_id",),
    "namespace_name": ("namespace__name",),
    "updated": ("updated_at",),
    "last_accessed": ("last_accessed_at",),
    "expires": ("expires_at",),
}
USUAL_COLUMNS = ("beginning", "kind", "user_id", "source", "tag_list", "level", "embedded", "created")
OPTIONAL_COLUMNS = tuple(name for name in COLUMN_FIELDS if name not in USUAL_COLUMNS)
ALWAYS_LOADED = ("namespace", "pk", "created_at")
#: Only what is unusual has a colour.
IMPORTANCE_COLOURS = {"CRITICAL": "danger", "HIGH": "warning"}
MATCH_HTML = '<span class="memory-score">{}</span> <span class="memory-arm">{}</span>'


def list_loaded_fields(columns: tuple[str, ...]) -> list[str]:
    """Return the fields to load for these columns."""
    fields = [field for column in columns for field in COLUMN_FIELDS.get(column, ())]
    return list(dict.fromkeys([*ALWAYS_LOADED, "state", "due__error", *fields]))


def count_relationships(memories: list[Memory]) -> dict[Any, int]:
    """Return the number of relationships of each memory of a page, by its id: one statement."""
    ids, namespaces = [each.pk for each in memories], {each.namespace_id for each in memories}
    counts = dict.fromkeys(ids, 0)
    links = Relationship.objects.filter(namespace_id__in=namespaces)
    outgoing = links.filter(from_memory_id__in=ids).values_list("from_memory_id", flat=True)
    incoming = links.filter(to_memory_id__in=ids).values_list("to_memory_id", flat=True)
    for pk in outgoing.union(incoming, all=True):
        counts[pk] += 1
    return counts


class MemoryColumns:
    """The columns, as methods of the admin class."""

    @display(description="memory", ordering="content")
    def beginning(self, memory: Memory) -> SafeString:
        if marked := getattr(memory, "marked", None):
            return marked
        return render_two_lines(truncate(memory.content_beginning, MAX_LIST_PREVIEW_LENGTH - 1))

    @display(description="match")
    def match(self, memory: Memory) -> SafeString:
        """Show the score and what found the memory: words, meaning, both, its id; or the field with the text."""
        if found_in := getattr(memory, "found_in", None):
            return format_html('<span class="memory-arm">{}</span>', found_in)
        if memory.hit is None:
            return format_html(MATCH_HTML, "id", "exact")
        found_by = memory.hit["found_by"]
        return format_html(MATCH_HTML, f"{memory.hit['score']:.2f}", found_by[0] if len(found_by) == 1 else "both")

    @display(description="type", ordering="memory_type")
    def kind(self, memory: Memory) -> str:
        return memory.memory_type.replace("_", " ")

    @display(description="source", ordering="source_system")
    def source(self, memory: Memory) -> str:
        return memory.source_system

    @display(description="tags", ordering="tags", empty_value="")
    def tag_list(self, memory: Memory) -> SafeString:
        shown = memory.tags[:MAX_SHOWN_TAGS]
        links = ((build_list_query(tag=tag), truncate(tag, 30)) for tag in shown)
        rest = len(memory.tags) - len(shown)
        tags = format_html_join(" ", '<a href="{}" class="memory-link">{}</a>', links)
        return format_html("{} <span title='{}'>+{}</span>", tags, ", ".join(memory.tags), rest) if rest else tags

    @display(description="importance", ordering="importance")
    def level(self, memory: Memory) -> SafeString | str:
        name = memory.get_importance_display()
        colour = IMPORTANCE_COLOURS.get(name)
        return format_html('<span class="list-mark list-mark-{}">{}</span>', colour, name) if colour else name.lower()

    @display(description="embedded", ordering="due__error", empty_value="")
    def embedded(self, memory: Memory) -> SafeString | str:
        """Mark only what is not embedded."""
        state = get_embedding_state(memory)
        label = EMBEDDING_STATE_LABELS[state]
        if state == EMBEDDED:
            return label
        return format_html('<span class="list-mark list-mark-{}">{}</span>', EMBEDDING_STATE_COLOURS[state], label)

    @display(description="created", ordering="created_at")
    def created(self, memory: Memory) -> SafeString | None:
        return format_datetime(memory.created_at)

    @display(description="summary", ordering="summary")
    def summary_beginning(self, memory: Memory) -> SafeString | None:
        return render_two_lines(truncate(memory.summary, MAX_LIST_PREVIEW_LENGTH)) if memory.summary else None

    @display(description="uses", ordering="access_count")
    def uses(self, memory: Memory) -> int:
        return memory.access_count

    @display(description="entity", ordering="entity_name")
    def entity(self, memory: Memory) -> str | None:
        if memory.entity_id is None:
            return None
        return truncate(f"{memory.entity_system} {memory.entity_name or memory.entity_id}", 60)

    @display(description="relationships")
    def relationships(self, memory: Memory) -> int:
        return getattr(memory, "relationship_count", 0)

    @display(description="namespace", ordering="namespace__name")
    def namespace_name(self, memory: Memory) -> str:
        return memory.namespace.name

    @display(description="updated", ordering="updated_at")
    def updated(self, memory: Memory) -> SafeString | None:
        return format_datetime(memory.updated_at)

    @display(description="last accessed", ordering="last_accessed_at", empty_value="never")
    def last_accessed(self, memory: Memory) -> SafeString | None:
        return format_datetime(memory.last_accessed_at)

    @display(description="expires", ordering="expires_at", empty_value="never")
    def expires(self, memory: Memory) -> SafeString | None:
        return format_datetime(memory.expires_at)


def mark_page(cl: Any, request: HttpRequest) -> None:
    """Give the rows of a list's page their hits, and the text that the search found, with its words marked."""
    hits = {hit["memory"]["id"]: hit for hit in getattr(request, "hits", ())}
    selection = getattr(request, "text_selection", None)
    excerpts = find_excerpts(cl.result_list, selection.text, selection.mode) if selection and cl.result_list else {}
    for memory in cl.result_list:
        memory.hit = hits.get(memory.pk)
        if memory.hit is not None:
            memory.marked = render_marked(memory.hit["memory"]["content"], request.wanted_words)
        elif memory.pk in excerpts:
            memory.found_in, memory.marked = excerpts[memory.pk]
