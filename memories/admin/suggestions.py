"""Values of a label that contain a text, for the fields of the filters."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connections
from django.db.models.expressions import RawSQL
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join

from memories.labels import filter_beyond
from memories.models import Memory
from memory_site.core.db.timeouts import limit_statements
from sessions_app.models import Namespace

SUGGESTED_FIELDS = ("user_id", "agent_id", "workflow_id", "repo_id", "session_id", "source_system", "entity_system")
MAX_SUGGESTIONS, MAX_NAMESPACES, MAX_TAGGED_ROWS = 20, 50, 20_000
SUGGESTION_SECONDS = 0.4
# The values are read by jumps through the label's index, one for each value.
SELECT_VALUES_SQL = """
WITH RECURSIVE label (value) AS (
    SELECT ({first})::text UNION ALL SELECT ({following})::text FROM label WHERE label.value IS NOT NULL
)
SELECT value FROM label WHERE strpos(lower(value), lower(%s)) > 0 LIMIT %s
"""
SELECT_TAGS_SQL = """
SELECT value FROM ({rows}) newest CROSS JOIN unnest(newest.tags) AS value
WHERE strpos(lower(value), lower(%s)) > 0 GROUP BY value ORDER BY count(*) DESC, value LIMIT %s
"""


def find_values(namespace_id: int | None, field: str, part: str, limit: int = MAX_SUGGESTIONS) -> list[str]:
    """Return values that contain the text, in any case; those found within SUGGESTION_SECONDS.

    Tags are those of the newest MAX_TAGGED_ROWS memories. Without a namespace the first MAX_NAMESPACES are looked at.
    """
    part = part.replace("\0", "")
    namespaces = [namespace_id] if namespace_id else Namespace.objects.order_by("pk").values_list("pk", flat=True)
    found: dict[str, None] = {}
    for each in namespaces[:MAX_NAMESPACES]:
        found |= dict.fromkeys(find_in_namespace(each, field, part, limit))
        if len(found) >= limit:
            break
    return sorted(found, key=lambda value: (not value.lower().startswith(part.lower()), value))[:limit]


def find_in_namespace(namespace_id: int, field: str, part: str, limit: int) -> list[str]:
    rows = Memory.objects.in_namespace(namespace_id)
    if field == "tags":
        sql, parameters = rows.newest_first().values("tags")[:MAX_TAGGED_ROWS].query.sql_with_params()
        sql = SELECT_TAGS_SQL.format(rows=sql)
    else:
        rows = rows.filter(**{f"{field}__isnull": False})
        following = filter_beyond(rows, field, ">", RawSQL("label.value", ()))
        queries = [each.order_by(field).values(field)[:1].query.sql_with_params() for each in (rows, following)]
        sql = SELECT_VALUES_SQL.format(first=queries[0][0], following=queries[1][0])
        parameters = tuple(value for _, given in queries for value in given)
    try:
        with limit_statements(SUGGESTION_SECONDS, rows.db), connections[rows.db].cursor() as cursor:
            cursor.execute(sql, [*parameters, part, limit])
            return [value for (value,) in cursor.fetchall()]
    except OperationalError:  # too many values
        return []


def suggest(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Respond with the options of a field's datalist: `field`, the text in `parameter`, the list's `namespace`."""
    from memories.admin.parameters import parse_namespace_id  # noqa: PLC0415  (which finds values by a part)

    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    field, part = request.GET.get("field", ""), request.GET.get(request.GET.get("parameter", ""), "").strip()[:255]
    try:
        namespace_id = parse_namespace_id(request.GET.get("namespace"))
    except ValueError:
        return HttpResponse("")
    known = field in (*SUGGESTED_FIELDS, "tags") and part and "\0" not in part
    values = find_values(namespace_id, field, part) if known else []
    return HttpResponse(format_html_join("", '<option value="{}"></option>', ((value,) for value in values)))
