"""The menu of actions of the memories list, and its "Delete": each leads to the page that shows what would happen."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IS_POPUP_VAR
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from memories.admin.parameters import read_selection
from memories.admin.search import is_search_by_meaning, parse_uuid_or_none
from memories.jobs.actions import ACTIONS
from memories.jobs.actions.base import Action
from memories.jobs.admin.plan import build_plan_url, is_permitted
from memories.search.list_filters import ListFilters
from memories.search.selection import Selection
from memories.states import State

#: A search by meaning has a hundred hits; a selection names so many ids at most.
MAX_IDS = 1_000
ALL_SELECTED = "All that match are selected"
NOTHING_SELECTED = "Select the memories first: tick some rows, or choose all that match."


class JobActions:
    """Of a ModelAdmin of memories: its actions, in place of the stock one, and its single deletion."""

    list_disable_select_all = False

    def get_actions(self, request: HttpRequest) -> dict[str, tuple[Callable, str, str]]:
        if IS_POPUP_VAR in request.GET:
            return {}
        permitted = [
            action for action in ACTIONS.values() if action.in_menu and is_permitted(request.user, action.permission)
        ]
        return {each.name: (make_list_action(each), each.name, f"{each.title}…") for each in permitted}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Not count in the bar of actions: lists count only so far, and the next page counts exactly."""
        note = {"selection_note_all": ALL_SELECTED}
        return super().changelist_view(request, note | (extra_context or {}))  # type: ignore[misc]

    def response_action(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Leave out what is no id: the database would refuse it."""
        given = request.POST.getlist(ACTION_CHECKBOX_NAME)
        request.POST = request.POST.copy()  # type: ignore[assignment]  # for this request only
        request.POST.setlist(ACTION_CHECKBOX_NAME, [each for each in given if parse_uuid_or_none(each)])
        return super().response_action(request, queryset)  # type: ignore[misc]

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Delete one memory as many are deleted: shown first, by a job that can be undone."""
        pk = parse_uuid_or_none(object_id)
        if pk is None or not is_permitted(request.user, ACTIONS["delete"].permission):
            return super().delete_view(request, object_id, extra_context)  # type: ignore[misc]
        return HttpResponseRedirect(build_plan_url(request.user, "delete", select_ids([pk])))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_permitted(request.user, ACTIONS["delete"].permission)


def make_list_action(action: Action) -> Callable[[Any, HttpRequest, QuerySet], HttpResponse]:
    def plan(model_admin: Any, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        try:
            selection = find_selection(request, queryset)
        except ValueError as error:
            messages.warning(request, f"Nothing can match: {error}")
            return HttpResponseRedirect(request.get_full_path())
        return HttpResponseRedirect(build_plan_url(request.user, action.name, selection))

    plan.__name__ = action.name
    return plan


def find_selection(request: HttpRequest, queryset: QuerySet) -> Selection:
    """Return what the list's selection means: the ticked rows, or all that match its filters.

    The hits of a search by meaning are named by their ids: such a search is no condition. Raises ValueError.
    """
    if request.POST.get("select_across") != "1":
        return select_ids(request.POST.getlist(ACTION_CHECKBOX_NAME))
    selection = read_selection(request.GET)
    if is_search_by_meaning(request):
        return select_ids(queryset.values_list("pk", flat=True)[:MAX_IDS])
    return selection


def select_ids(ids: Any) -> Selection:
    """Return the memories with these ids, whatever their state. Raises ValueError without any."""
    found = [pk for each in ids if (pk := parse_uuid_or_none(str(each)))]
    if not found:
        raise ValueError(NOTHING_SELECTED)
    return Selection(None, ListFilters(ids=found[:MAX_IDS], states=list(State)))


def get_list_url() -> str:
    return reverse("admin:memories_memory_changelist")
