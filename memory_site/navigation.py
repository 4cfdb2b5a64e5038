"""The console's sidebar, badge and style sheet."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse


def get_environment(_: HttpRequest) -> tuple[str, str]:
    """Return text and colour of the badge on every page."""
    return ("Embedded", "info") if settings.EMBEDDED else ("Production", "danger")


def get_favicon_url(_: HttpRequest) -> str:
    return static("memory_site/favicon.svg")


def get_style_sheet_url(_: HttpRequest) -> str:
    return static("memory_site/console.css")


def get_json_script_url(_: HttpRequest) -> str:
    return static("memory_site/json_view.js")


def get_keys_script_url(_: HttpRequest) -> str:
    return static("memory_site/keys.js")


def get_labels_script_url(_: HttpRequest) -> str:
    return static("memory_site/labels.js")


# Group, then: title, symbol, the model's admin address and the permission to see it. The console's one taxonomy:
# breadcrumbs and the command palette name groups and pages as they are here.
SIDEBAR = {
    "Memory": [
        ("Memories", "neurology", "memories_memory", "memories.view_memory"),
        ("Users’ memory", "hub", "graph_usertotal", "memories.view_memory"),
        ("Changes", "history", "history_memoryversion", "history.view_memoryversion"),
        ("Trash", "delete", "history_trashedmemory", "history.view_trashedmemory"),
        ("Entities", "deployed_code", "graph_entity", "memories.view_memory"),
        ("Relationships", "conversion_path", "graph_relationship", "graph.view_relationship"),
        ("Search bench", "experiment", "bench_testsearch", "bench.view_testsearch"),
    ],
    "Learned": [
        ("Insights", "lightbulb", "insights_insight", "insights.view_insight"),
        ("Insights at a glance", "bar_chart", "insights_insightglance", "insights.view_insight"),
        ("Clusters", "bubble_chart", "knowledge_cluster", "knowledge.view_cluster"),
        ("Patterns", "repeat", "knowledge_pattern", "knowledge.view_pattern"),
        ("Preferences", "tune", "knowledge_preference", "knowledge.view_preference"),
        ("Projects", "folder_special", "insights_project", "insights.view_insight"),
        ("Project groups", "workspaces", "insights_projectgroup", "insights.view_projectgroup"),
        ("Project dependencies", "lan", "insights_projectdependency", "insights.view_projectdependency"),
    ],
    "Sources": [
        ("Ingestions", "folder_data", "ingestion_ingestion", "ingestion.view_ingestion"),
        ("Documents", "description", "ingestion_document", "ingestion.view_document"),
        ("Workflow runs", "account_tree", "ingestion_workflowexecution", "ingestion.view_workflowexecution"),
        ("Workflow report", "summarize", "ingestion_workflowreport", "ingestion.view_workflowexecution"),
        ("Performance", "speed", "ingestion_performancemetric", "ingestion.view_performancemetric"),
    ],
    "Conversations": [
        ("Sessions", "chat", "sessions_app_sessionmemory", "sessions_app.view_sessionmemory"),
        ("Conversations", "forum", "sessions_app_conversation", "sessions_app.view_conversation"),
        ("Session links", "link", "sessions_app_sessionlink", "sessions_app.view_sessionlink"),
        ("Session statistics", "monitoring", "sessions_app_sessionstatistics", "sessions_app.view_sessionmemory"),
    ],
    "Jobs and clean-up": [
        ("Clean-up", "cleaning_services", "cleanup_overview", "memories.view_memory"),
        ("Near duplicates", "difference", "cleanup_duplicate", "cleanup.view_duplicate"),
        ("Jobs", "task_alt", "jobs_job", "jobs.view_job"),
        ("Re-embedding", "change_circle", "memories_reembedding", "memories.view_reembedding"),
        ("Erasures", "auto_delete", "graph_erasure", "graph.view_erasure"),
    ],
    "Operations": [
        ("Operations tasks", "construction", "operations_desk", "memories.view_memory"),
        ("Health", "ecg_heart", "operations_health", "operations.view_heartbeat"),
        (
            "Scheduled tasks",
            "event_repeat",
            "django_celery_beat_periodictask",
            "django_celery_beat.view_periodictask",
        ),
        ("Backups", "backup", "operations_backup", "operations.view_backup"),
        ("Maintenance", "home_repair_service", "operations_maintenancereport", "operations.view_maintenancereport"),
        ("Processes", "memory", "operations_heartbeat", "operations.view_heartbeat"),
        ("SQL statements", "terminal", "operations_sqlstatement", "operations.view_sqlstatement"),
    ],
    "Access": [
        ("Namespaces", "folder_special", "sessions_app_namespace", "sessions_app.view_namespace"),
        ("Clones of namespaces", "content_copy", "operations_namespaceclone", "operations.view_namespaceclone"),
        ("API keys", "key", "sessions_app_apikey", "sessions_app.view_apikey"),
        ("Console accounts", "person", "auth_user", "auth.view_user"),
        ("Groups", "group", "auth_group", "auth.view_group"),
        ("Audit", "policy", "access_accessevent", "access.view_accessevent"),
        ("Logins", "devices", "access_consolesession", "access.view_consolesession"),
    ],
}


def build_account_links(_: HttpRequest) -> list[dict[str, str]]:
    """Return the entries of the menu behind the user's name."""
    return [
        {"title": "Your account", "link": reverse("account")},
        {"title": "Change password", "link": reverse("admin:password_change")},
    ]


def build_navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar without what this user may not see. Groups are folded, except that of the present page: all of
    them are in sight at 900 px."""
    home = {"title": "Dashboard", "icon": "home", "link": reverse("admin:index")}
    docs = {"title": "API documentation", "icon": "menu_book", "link": reverse("api:openapi-view")}
    groups = [
        {"title": title, "collapsible": True, "items": list(build_permitted_items(request, items))}
        for title, items in SIDEBAR.items()
    ]
    return [{"items": [home]}, *groups, {"separator": True, "items": [docs]}]


def build_permitted_items(request: HttpRequest, items: list[tuple[str, str, str, str]]) -> Iterator[dict[str, Any]]:
    for title, icon, model, permission in items:
        if request.user.has_perm(permission):
            # By name: the address of one page may be a prefix of another's.
            active = ((request.resolver_match and request.resolver_match.url_name) or "").startswith(f"{model}_")
            yield {"title": title, "icon": icon, "link": reverse(f"admin:{model}_changelist"), "active": active}
