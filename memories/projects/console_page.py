"""The console's page of projects: every name that memories, insights, groups or dependencies give one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from memories.labels import MAX_COUNTED, fetch_labels
from memory_site.core.admin.formatting import format_datetime, format_number, truncate
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

MAX_PROJECTS, MAX_INSIGHTS = 500, 100_000
SORTS = {
    "name": "Project",
    "memories": "Memories",
    "insights": "Insights",
    "groups": "Groups",
    "dependencies": "Dependencies",
    "latest": "Latest memory",
}
# Counts of one namespace by project: three sources, each name with what it has.
COUNT_PROJECTS_SQL = f"""
SELECT project, sum(insights), sum(groups), sum(dependencies)
FROM (
    SELECT unnest(projects) AS project, 1 AS insights, 0 AS groups, 0 AS dependencies
    FROM (
        SELECT projects FROM insights_insight WHERE namespace_id = %(namespace)s ORDER BY memory_id DESC
        LIMIT {MAX_INSIGHTS}
    ) newest
    UNION ALL
    SELECT unnest(projects), 0, 1, 0 FROM insights_projectgroup WHERE namespace_id = %(namespace)s
    UNION ALL
    SELECT unnest(ARRAY[source_project, target_project]), 0, 0, 1 FROM insights_projectdependency
    WHERE namespace_id = %(namespace)s
) named GROUP BY project ORDER BY project LIMIT {MAX_PROJECTS}
"""
LATEST_SQL = """
SELECT project, (
    SELECT created_at FROM memories_memory memory
    WHERE memory.namespace_id = %(namespace)s AND memory.repo_id = project ORDER BY created_at DESC, id DESC LIMIT 1
)
FROM unnest(%(projects)s::text[]) AS project
"""
LINK_HTML = '<a href="{}" class="underline">{}</a>'


@dataclass
class Project:
    """Numbers of one project; `memories` are those with its name as `repo_id`, up to MAX_COUNTED + 1."""

    name: str
    memories: int = 0
    insights: int = 0
    groups: int = 0
    dependencies: int = 0
    latest: datetime | None = None


def find_projects(namespace_id: int) -> list[Project]:
    """Return at most MAX_PROJECTS projects of a namespace, by name."""
    found: dict[str, Project] = {}
    with connection.cursor() as cursor:
        cursor.execute(COUNT_PROJECTS_SQL, {"namespace": namespace_id})
        for name, *numbers in cursor.fetchall():
            found[name] = Project(name, 0, *(int(number) for number in numbers[:3]))  # type: ignore[arg-type]
        for label in fetch_labels(namespace_id, "repo_id", "", MAX_PROJECTS, "asc", None):
            found.setdefault(label["value"], Project(label["value"])).memories = label["memories"]
        cursor.execute(LATEST_SQL, {"namespace": namespace_id, "projects": list(found)})
        for name, latest in cursor.fetchall():
            found[name].latest = latest
    return sorted(found.values(), key=lambda project: project.name)[:MAX_PROJECTS]


def show_projects(request: HttpRequest, model_admin: Any) -> HttpResponse:
    if not request.user.has_perm("insights.view_insight"):
        raise PermissionDenied
    namespace = get_selected_namespace(request) or Namespace.objects.order_by("pk").first()
    sort = request.GET.get("sort", "name")
    sort = sort if sort in SORTS else "name"
    projects = sort_projects(find_projects(namespace.pk), sort) if namespace else []
    namespace_form = build_namespace_form(request, model_admin, namespace)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Projects",
        "filter_forms": [namespace_form],
        "media": forms.Media(namespace_form.Media),  # type: ignore[attr-defined]
        "headers": [build_header(name, title, sort, namespace) for name, title in SORTS.items()],
        "rows": [build_row(project, namespace.pk) for project in projects] if namespace else [],
        "is_cut": len(projects) == MAX_PROJECTS,
        "max_projects": MAX_PROJECTS,
    }
    return TemplateResponse(request, "admin/insights/project/list.html", context)


def sort_projects(projects: list[Project], sort: str) -> list[Project]:
    """Return the projects by name, or with the most or latest first."""
    if sort == "name":
        return projects
    return sorted(projects, key=lambda each: (getattr(each, sort) is not None, getattr(each, sort)), reverse=True)


def build_header(name: str, title: str, sort: str, namespace: Namespace | None) -> dict[str, Any]:
    query = {"sort": name} | ({"namespace": namespace.pk} if namespace else {})
    return {"title": title, "url": f"?{urlencode(query)}", "is_active": name == sort}


def build_row(project: Project, namespace_id: int) -> list[SafeString | str | None]:
    memories = format_number(project.memories) if project.memories <= MAX_COUNTED else f"{format_number(MAX_COUNTED)}+"
    same: dict[str, str | int] = {"namespace": namespace_id, "project": project.name}
    return [
        truncate(project.name, 80),
        link("memories_memory", memories, namespace=namespace_id, repo_id=project.name, chunks="all"),
        link("insights_insight", format_number(project.insights), **same),
        link("insights_projectgroup", format_number(project.groups), **same),
        link("insights_projectdependency", format_number(project.dependencies), **same),
        format_datetime(project.latest) or "-",
    ]


def link(page: str, text: str, **parameters: str | int) -> SafeString | str:
    """Return a number as a link to its rows; 0 has none."""
    url = f"{reverse(f'admin:{page}_changelist')}?{urlencode(parameters)}"
    return text if text == "0" else format_html(LINK_HTML, url, text)
