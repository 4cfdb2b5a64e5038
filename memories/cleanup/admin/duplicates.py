"""The list of near duplicates: what would be replaced by what, merged by a job or said to be none."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from memories.admin.search import parse_uuid_or_none
from memories.cleanup.admin.overview import overview_view, start_view
from memories.cleanup.differences import render_difference
from memories.cleanup.models import Duplicate
from memories.jobs.admin.plan import build_plan_url, is_permitted
from memories.models import Memory
from memories.search.filters import Filters
from memories.search.list_filters import ListFilters
from memories.search.selection import Selection
from memories.states import is_alive
from memory_site.core.admin.base import CappedChangeList, ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime, format_number
from sessions_app.admin.namespaces import NamespaceFilter

MAX_IDS = 1_000
MERGE = "merge_duplicates"
DISMISSED = "{} pairs will not be shown again, unless one of the two texts is found to say the same as another one."
LINK_HTML = '<a href="{}">{}</a>'


class DuplicateList(CappedChangeList):
    """Loads the winners' texts beside the rows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        winners = Memory.objects.filter(
            namespace__in={row.namespace_id for row in self.result_list},
            pk__in=[row.winner_id for row in self.result_list],
        )
        contents = dict(winners.values_list("pk", "content"))
        for row in self.result_list:
            row.winner_content = contents.get(row.winner_id, "")


@admin.register(Duplicate)
class DuplicateAdmin(ReadOnlyAdmin):
    empty_text = "Near duplicates appear here when a job has looked for them: see Clean-up."
    list_display = ("difference", "user", "kind", "likeness", "replaced_by", "found")
    list_display_links = None
    list_filter = (NamespaceFilter,)
    list_disable_select_all = False
    ordering = ("namespace", "winner_id", "memory")
    list_before_template = "admin/cleanup/duplicates_intro.html"
    actions = ("merge", "dismiss")

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("clean-up/", wrap(partial(overview_view, model_admin=self)), name="cleanup_overview_changelist"),
            path("clean-up/look/", wrap(partial(start_view, model_admin=self)), name="cleanup_overview_look"),
        ]
        return [*own, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        living = Memory.objects.filter(is_alive(), namespace=OuterRef("namespace"))
        rows = Duplicate.objects.filter(
            Exists(living.filter(pk=OuterRef("memory"))),
            Exists(living.filter(pk=OuterRef("winner_id"))),
            dismissed=False,
        )
        return rows.select_related("memory").defer("memory__search_vector", "memory__data")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DuplicateList]:
        return DuplicateList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == NamespaceFilter.parameter_name

    def get_actions(self, request: HttpRequest) -> dict:
        permitted = is_permitted(request.user, "memories.change_memory")
        return super().get_actions(request) if permitted else {}

    def response_action(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Leave out what is no id: the database would refuse it."""
        given = request.POST.getlist(ACTION_CHECKBOX_NAME)
        request.POST = request.POST.copy()  # type: ignore[assignment]  # for this request only
        request.POST.setlist(ACTION_CHECKBOX_NAME, [each for each in given if parse_uuid_or_none(each)])
        return super().response_action(request, queryset)

    @admin.action(description="Merge…", permissions=["view"])
    def merge(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        """Plan a job over the ticked rows, or over all of the list."""
        if request.POST.get("select_across") == "1":
            selection = select_all(request.GET.get("namespace", ""))
        else:
            selection = Selection(None, Filters(ids=list(queryset.values_list("memory_id", flat=True)[:MAX_IDS])))
        return HttpResponseRedirect(build_plan_url(request.user, MERGE, selection))

    @admin.action(description="They are no duplicates", permissions=["view"])
    def dismiss(self, request: HttpRequest, queryset: QuerySet) -> None:
        number = queryset.order_by().update(dismissed=True)
        messages.success(request, DISMISSED.format(format_number(number)))

    @display(description="difference: what the other memory has not, and has besides")
    def difference(self, row: Any) -> SafeString:
        return render_difference(row.memory.content, row.winner_content)

    @display(description="user", empty_value="-")
    def user(self, row: Duplicate) -> str | None:
        return row.memory.user_id

    @display(description="type", label=True)
    def kind(self, row: Duplicate) -> str:
        return row.memory.memory_type.replace("_", " ")

    @display(description="alike")
    def likeness(self, row: Duplicate) -> str:
        return f"{row.similarity:.0%}"

    @display(description="pages")
    def replaced_by(self, row: Duplicate) -> SafeString:
        pages = [("replaced", row.memory_id), ("stays", row.winner_id)]
        links = [format_html(LINK_HTML, reverse("admin:memories_memory_change", args=[pk]), name) for name, pk in pages]
        return format_html("{} · {}", *links)

    @display(description="found")
    def found(self, row: Duplicate) -> SafeString | None:
        return format_datetime(row.found_at)


def select_all(namespace: str) -> Selection:
    """Return all near duplicates, of the namespace that the list is filtered by."""
    namespace_id = int(namespace) if namespace.isascii() and namespace.isdigit() and len(namespace) < 19 else None
    return Selection(namespace_id, ListFilters(finding="duplicate"))
