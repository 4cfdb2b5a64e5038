"""The console's page of operations tasks, and the pages that it leads to."""

from functools import partial

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.operations.admin.desk.counts import show_counts
from memory_site.operations.admin.desk.summaries import show_summaries
from memory_site.operations.admin.desk.tasks import show_tasks
from memory_site.operations.admin.desk.user_data import export_user, show_erasure
from memory_site.operations.admin.desk.wipe import show_wipe
from memory_site.operations.models import Desk

PAGES = {
    "counts": show_counts,
    "summaries": show_summaries,
    "wipe": show_wipe,
    "erase": show_erasure,
    "export": export_user,
}


@admin.register(Desk)
class DeskAdmin(ReadOnlyAdmin):
    """Pages without rows. Each checks the permission that its own rows need."""

    empty_text = "The tasks of operators: this page has no rows of its own."

    def get_urls(self) -> list[URLPattern]:
        views = {"changelist": self.changelist_view} | {
            name: partial(view, model_admin=self) for name, view in PAGES.items()
        }
        return [
            path(
                "" if name == "changelist" else f"{name}/",
                self.admin_site.admin_view(view),
                name=f"operations_desk_{name}",
            )
            for name, view in views.items()
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict | None = None) -> HttpResponse:
        return show_tasks(request, self)

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Return none, so that the index page does not list the model."""
        return {}

    def has_view_permission(self, request: HttpRequest, obj: Desk | None = None) -> bool:
        return request.user.has_perm("memories.view_memory")
