"""The page of a memory and what its buttons do. Each tab reads only what it shows."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.admin.options import IS_POPUP_VAR
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin

from memories.admin.embedding_states import EMBEDDING_STATE_COLOURS, get_embedding_state
from memories.admin.memory_page.history import (
    build_history_tab,
    describe_actor,
    find_deleted,
    is_in_trash,
    restore_version,
)
from memories.admin.memory_page.neighbours import MANY_NEIGHBOURS, build_vector_context
from memories.admin.memory_page.overview import build_overview_context, render_content
from memories.admin.memory_page.relationships import (
    add_relationship,
    build_relationships_tab,
    remove_relationship,
)
from memories.admin.memory_page.searches import build_searches_tab
from memories.admin.memory_page.states import build_state_context, reactivate
from memories.admin.search import parse_uuid_or_none
from memories.console_urls import get_memory_url
from memories.models import Memory, not_expired
from memory_site.core.admin.formatting import truncate
from sessions_app.models import Namespace

MAX_TITLE_LENGTH = 90
EDIT = "edit"
VIEW_RELATIONSHIPS = "graph.view_relationship"


def build_overview_tab(request: HttpRequest, memory: Memory) -> dict[str, Any]:
    return build_overview_context(memory, with_relationships=request.user.has_perm(VIEW_RELATIONSHIPS))


def build_neighbours_tab(request: HttpRequest, memory: Memory) -> dict[str, Any]:
    return build_vector_context(memory, MANY_NEIGHBOURS)


TabBuilder = Callable[[HttpRequest, Memory], dict[str, Any]]
OVERVIEW = "memory"
#: By name: title, the function that reads what it shows, the permission that it needs besides `memories.view_memory`.
TABS: dict[str, tuple[str, TabBuilder, str | None]] = {
    OVERVIEW: ("Memory", build_overview_tab, None),
    "relationships": ("Relationships", build_relationships_tab, VIEW_RELATIONSHIPS),
    "neighbours": ("Neighbours", build_neighbours_tab, None),
    "history": ("History", build_history_tab, "history.view_memoryversion"),
    "searches": ("Test searches", build_searches_tab, "bench.view_testsearch"),
}


def restore(request: HttpRequest, memory: Memory) -> str | None:
    return restore_version(request, memory.namespace_id, memory.pk)


Action = Callable[[HttpRequest, Memory], str | None]
#: By name: what it does, the permission, and the tab to return to. It returns words for the console's log.
ACTIONS: dict[str, tuple[Action, str, str]] = {
    "relate": (add_relationship, "graph.add_relationship", "relationships"),
    "restore": (restore, "memories.change_memory", "history"),
    "reactivate": (reactivate, "memories.change_memory", "memory"),
    "unrelate": (remove_relationship, "graph.delete_relationship", "relationships"),
}


class MemoryPageMixin(ModelAdmin):
    """A page to read, with the form at `?edit=1` for those who may change memories."""

    def get_urls(self) -> list[URLPattern]:
        actions = [
            path(
                f"<uuid:pk>/{name}/",
                self.admin_site.admin_view(partial(self.act, name=name)),
                name=f"memories_memory_{name}",
            )
            for name in ACTIONS
        ]
        return [*actions, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        reads = request.method in ("GET", "HEAD")
        wants_form = EDIT in request.GET or IS_POPUP_VAR in request.GET
        if reads and not (wants_form and self.has_change_permission(request)):
            return self.show_page(request, object_id)
        return super().change_view(request, object_id, form_url, extra_context)

    def show_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        memory = find_memory(object_id)
        if memory is None:
            return self.show_deleted(request, object_id)
        try:
            return TemplateResponse(request, "admin/memories/memory/page.html", self.build_context(request, memory))
        except Memory.DoesNotExist:  # deleted since
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)

    def show_deleted(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say who deleted a memory, and offer it back while the trash has it."""
        pk = parse_uuid_or_none(object_id)
        may_see = request.user.has_perm("history.view_memoryversion")
        deletion = find_deleted(pk) if pk and may_see else None
        if deletion is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        content = str(deletion.row.get("content", ""))
        context = {
            **self.admin_site.each_context(request),
            "title": truncate(content, MAX_TITLE_LENGTH),
            "opts": self.opts,
            "content": render_content(content),
            "deletion": deletion,
            "actor": describe_actor(deletion.changed_by),
            "in_trash": is_in_trash(deletion),
            "may_edit": self.has_change_permission(request),
        }
        return TemplateResponse(request, "admin/memories/memory/deleted.html", context)

    def build_context(self, request: HttpRequest, memory: Memory) -> dict[str, Any]:
        tabs = {name: tab for name, tab in TABS.items() if tab[2] is None or request.user.has_perm(tab[2])}
        chosen = request.GET.get("tab", OVERVIEW)
        chosen = chosen if chosen in tabs else OVERVIEW
        state = get_embedding_state(memory)
        return {
            **self.admin_site.each_context(request),
            "title": truncate(memory.content, MAX_TITLE_LENGTH),
            "opts": self.opts,
            "original": memory,
            "memory": memory,
            "tab": chosen,
            "tab_template": f"admin/memories/memory/page_{chosen}.html",
            "tabs_list": [build_tab(memory, name, tab[0], name == chosen) for name, tab in tabs.items()],
            **build_state_context(memory),
            "may_edit": self.has_change_permission(request, memory),
            "may_delete": self.has_delete_permission(request, memory),
            "state": state,
            "state_colour": EMBEDDING_STATE_COLOURS[state],
            **tabs[chosen][1](request, memory),
        }

    def act(self, request: HttpRequest, pk: Any, name: str) -> HttpResponse:
        """Do what a button of the page says, and return to its tab."""
        action, permission, tab = ACTIONS[name]
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_view_permission(request) or not request.user.has_perm(permission):
            raise PermissionDenied
        memory = find_memory(str(pk)) or find_deleted_memory(pk)
        if memory is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(pk))
        if done := action(request, memory):
            self.log_change(request, memory, done)
        return HttpResponseRedirect(f"{get_memory_url(memory)}?tab={tab}")

    def response_post_save_change(self, request: HttpRequest, obj: Memory) -> HttpResponse:
        """Return to the page that the form was opened from."""
        return HttpResponseRedirect(get_memory_url(obj))


def find_memory(object_id: str) -> Memory | None:
    """Return the memory in whatever state, unless it has expired."""
    if (pk := parse_uuid_or_none(object_id)) is None:
        return None
    # The table's key begins with the namespace: by id alone every row would be read.
    rows = Memory.objects.filter(not_expired(), pk=pk, namespace__in=Namespace.objects.values("pk"))
    return rows.select_related("due", "namespace").defer("search_vector").order_by("-created_at").first()


def find_deleted_memory(pk: UUID) -> Memory | None:
    """Return a memory of which only its key is known, for what brings it back."""
    deletion = find_deleted(pk)
    return deletion and Memory(pk=pk, namespace_id=deletion.namespace_id)


def build_tab(memory: Memory, name: str, title: str, is_active: bool) -> dict[str, Any]:
    link = get_memory_url(memory) + ("" if name == OVERVIEW else f"?tab={name}")
    return {"title": title, "link": link, "active": is_active, "has_permission": True}
