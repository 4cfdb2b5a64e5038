"""Facets of the memories list: the commonest values of each label among its rows, with counts."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connections
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse

from memories.admin.parameters import SEARCH_PARAMETER, read_selection
from memories.models import Memory, MemoryQuerySet
from memories.search.text_scan import scan_memories
from memory_site.core.admin.formatting import format_number, replace_underscores, truncate
from memory_site.core.db.timeouts import limit_statements

#: Title and list parameter by column.
FACETS = {
    "memory_type": ("type", "memory_type"),
    "user_id": ("user", "user_id"),
    "source_system": ("source", "source_system"),
    "tags": ("tag", "tag"),
    "agent_id": ("agent", "agent_id"),
    "repo_id": ("repository", "repo_id"),
    "entity_system": ("entity system", "entity_system"),
}
MAX_COUNTED, MAX_VALUES, FACET_SECONDS = 10_000, 8, 0.7
CAPPED_NOTE = f"Counted among the newest {format_number(MAX_COUNTED)}."
SLOW_NOTE = "Too many memories to count with these filters."
MEANING_NOTE = "Counted without the search by meaning."
VALUES_SQL = (
    "(SELECT '{0}', {0}::text, count(*) FROM newest WHERE {0} IS NOT NULL GROUP BY 2 ORDER BY 3 DESC, 2 LIMIT {1})"
)
TAGS_SQL = "(SELECT 'tags', tag::text, count(*) FROM newest, unnest(tags) tag GROUP BY 2 ORDER BY 3 DESC, 2 LIMIT {1})"
TOTAL_SQL = "SELECT '', '', count(*) FROM newest"


def show_facets(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Respond with the facets of the list that the query string means, as a part of its page."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    try:
        rows, note = select_rows(request.GET)
        counts, is_capped = count_values(rows)
    except ValueError as error:
        return render(request, "admin/memories/memory/facets.html", {"note": str(error)})
    except OperationalError:
        return render(request, "admin/memories/memory/facets.html", {"note": SLOW_NOTE})
    notes = [note, CAPPED_NOTE if is_capped else ""]
    facets = [build_facet(column, values, request.GET) for column, values in counts.items() if values]
    return render(
        request, "admin/memories/memory/facets.html", {"facets": facets, "note": " ".join(filter(None, notes))}
    )


def select_rows(parameters: QueryDict) -> tuple[MemoryQuerySet, str]:
    """Return the rows of the list, and a note about them. Raises ValueError for invalid filters."""
    selection = read_selection(parameters)
    if selection.text:
        return scan_memories(selection).find_hits(Memory.objects.alive()), ""
    rows = selection.narrow(Memory.objects.alive())
    return rows, MEANING_NOTE if parameters.get(SEARCH_PARAMETER, "").strip() else ""


def count_values(rows: MemoryQuerySet) -> tuple[dict[str, list[tuple[str, int]]], bool]:
    """Return (value, memories) by column, and whether only the newest MAX_COUNTED rows were counted: one statement."""
    sql, parameters = rows.newest_first().values(*FACETS)[: MAX_COUNTED + 1].query.sql_with_params()
    parts = [(TAGS_SQL if column == "tags" else VALUES_SQL).format(column, MAX_VALUES) for column in FACETS]
    statement = f"WITH newest AS MATERIALIZED ({sql}) {' UNION ALL '.join([*parts, TOTAL_SQL])}"
    counts: dict[str, list[tuple[str, int]]] = {column: [] for column in FACETS}
    total = 0
    with limit_statements(FACET_SECONDS, rows.db), connections[rows.db].cursor() as cursor:
        cursor.execute(statement, parameters)
        for column, value, number in cursor.fetchall():
            if column:
                counts[column].append((value, number))
            else:
                total = number
    return counts, total > MAX_COUNTED


def build_facet(column: str, values: list[tuple[str, int]], parameters: QueryDict) -> dict[str, Any]:
    title, parameter = FACETS[column]
    return {"title": title, "values": [build_value(parameter, value, number, parameters) for value, number in values]}


def build_value(parameter: str, value: str, number: int, parameters: QueryDict) -> dict[str, Any]:
    label = replace_underscores(value) if parameter == "memory_type" else truncate(value, 40)
    return {
        "label": label,
        "count": format_number(min(number, MAX_COUNTED)),
        "url": build_url(parameters, parameter, [value]),
        "without_url": build_url(parameters, f"not_{parameter}", [*parameters.getlist(f"not_{parameter}"), value]),
    }


def build_url(parameters: QueryDict, name: str, values: list[str]) -> str:
    changed = parameters.copy()
    for passing in ("p", "after", "e"):
        changed.pop(passing, None)
    changed.setlist(name, list(dict.fromkeys(values)))
    return f"{reverse('admin:memories_memory_changelist')}?{changed.urlencode()}"
