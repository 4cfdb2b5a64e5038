"""The page of operations tasks: what operators did by hand, each with its page and its command."""

from collections.abc import Iterator

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch
from unfold.admin import ModelAdmin

from memory_site.operations.operator_tasks import DATABASE, LOOK, REMOVE, TASKS, Task


def show_tasks(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Show the cards of what this account may do."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Operations tasks",
        "groups": [(group, list(list_cards(request, group))) for group in (LOOK, REMOVE, DATABASE)],
    }
    return TemplateResponse(request, "admin/operations/desk/tasks.html", context)


def list_cards(request: HttpRequest, group: str) -> Iterator[tuple[Task, str]]:
    """Yield each permitted task with the address of its page."""
    for task in TASKS:
        if task.group == group and request.user.has_perm(task.permission):
            try:
                yield task, task.url
            except NoReverseMatch:
                continue
