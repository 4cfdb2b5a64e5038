"""Admin pages of clusters."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR, PAGE_VAR, ChangeList
from django.core.paginator import Page, Paginator
from django.db.models import Exists, Q, QuerySet
from django.db.models.functions import Left, Now
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from memories.console_urls import get_memory_url
from memories.knowledge.models import Cluster, ClusterQuerySet, get_cluster_members, get_members_queryset
from memories.knowledge.schemas.clusters import ClusterPatch
from memories.memory_types import MemoryType
from memory_site.core.admin.base import CappedChangeList
from memory_site.core.admin.formatting import format_number, render_name_cell, replace_underscores
from memory_site.core.admin.schema_forms import ArrayContainsFilter, SchemaAdmin, SchemaForm, make_choice_filter
from memory_site.core.admin.widgets import make_tags_field, make_text_field
from sessions_app.admin.namespaces import NamespaceFilter

MEMBER_PREVIEW_LENGTH, MEMBERS_PER_PAGE = 160, 50


class TagFilter(ArrayContainsFilter):
    title, parameter_name, column = "tag", "tag", "tags"


class ClusterForm(SchemaForm):
    part = ClusterPatch
    name = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget)
    description = make_text_field()
    topics = make_tags_field()

    class Meta:
        model = Cluster
        fields = ("name", "description", "topics", "confidence")


#: Of the list: "all" shows the clusters with one member too.
MEMBERS_PARAMETER = "members"


def shows_small_clusters(parameters: Mapping[str, str]) -> bool:
    """Return whether the list has clusters of one member too: the usual list, without filters, has not."""
    return any(value for name, value in parameters.items() if name not in (ORDER_VAR, PAGE_VAR))


class ClusterList(CappedChangeList):
    def get_filters_params(self, params: dict | None = None) -> dict[str, Any]:
        given = super().get_filters_params(params)
        return {name: values for name, values in given.items() if name != MEMBERS_PARAMETER}

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet:
        """Defer wide columns. Members are counted for the rows of the page only, or for those that are sorted by it."""
        rows = self.root_queryset.with_importance(None).with_members(None)
        if not shows_small_clusters(request.GET):
            rows = rows.filter(Q(is_explicit=True) | Exists(get_cluster_members(None)[1:2]))
        self.root_queryset = rows.defer("words", "key", "description", "topics")
        return super().get_queryset(request, exclude_parameters)


@admin.register(Cluster)
class ClusterAdmin(SchemaAdmin):
    empty_text = "The first memory with tags creates one: memories of one type with the same tags form a cluster."
    form = ClusterForm
    list_display = ("called", "kind", "tag_list", "namespace", "members", "importance", "confidence_shown", "updated")
    list_display_links = ("called",)
    list_filter = (NamespaceFilter, make_choice_filter("memory_type", MemoryType), TagFilter)
    list_before_template = "admin/knowledge/cluster/list_intro.html"
    search_fields = ("name",)  # shows the search box; get_search_results does the search
    search_help_text = "Words of its name, tags or topics"
    readonly_fields = ("kind", "tag_list", "namespace", "members", "importance", "created", "updated")
    fieldsets = (
        (None, {"fields": (("kind", "namespace"), "tag_list", ("members", "importance"))}),
        ("Description", {"fields": ("name", "description", ("topics", "confidence"))}),
        ("Record", {"fields": (("created", "updated"),)}),
    )
    marks = {"is_explicit": True, "updated_at": Now()}
    change_form_outer_after_template = "admin/knowledge/cluster/members.html"
    delete_confirmation_template = "admin/knowledge/cluster/delete_confirmation.html"
    delete_selected_confirmation_template = "admin/knowledge/cluster/delete_selected_confirmation.html"

    def get_queryset(self, request: HttpRequest) -> ClusterQuerySet:
        """Leave out clusters whose members have all expired, unless they are named or described."""
        rows = Cluster.objects.select_related("namespace")
        return rows.filter(Q(is_explicit=True) | Exists(get_cluster_members(None)))

    def get_object(self, request: HttpRequest, *args: Any) -> Cluster | None:
        """Return the cluster with the annotations that its page shows."""
        cluster = super().get_object(request, *args)
        if cluster is None:
            return None
        return self.get_queryset(request).with_importance(None).with_members(None).filter(pk=cluster.pk).first()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ClusterList]:
        return ClusterList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        return (queryset.matching_words(search_term) if search_term.strip() else queryset), False

    def build_tabs(self, cl: ChangeList) -> list[dict[str, Any]]:
        shows_all = shows_small_clusters(cl.params)
        return [
            {
                "title": "Two members or more",
                "url": cl.get_query_string({MEMBERS_PARAMETER: None}),
                "is_active": not shows_all,
            },
            {"title": "All", "url": cl.get_query_string({MEMBERS_PARAMETER: "all"}), "is_active": shows_all},
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: triggers create clusters with the first memory."""
        return False

    @display(description="cluster", ordering="name")
    def called(self, cluster: Cluster) -> SafeString:
        return render_name_cell(str(cluster))

    @display(description="type", label=True, ordering="memory_type")
    def kind(self, cluster: Cluster) -> str:
        return replace_underscores(cluster.memory_type)

    @display(description="tags", ordering="tags")
    def tag_list(self, cluster: Cluster) -> SafeString:
        return render_name_cell(", ".join(cluster.tags))

    @display(description="members", ordering="member_count")
    def members(self, cluster: Cluster) -> str:
        return format_number(cluster.member_count)

    @display(description="importance", ordering="importance_score")
    def importance(self, cluster: Cluster) -> str:
        return f"{cluster.importance_score:.1f}"

    @display(description="confidence", ordering="confidence")
    def confidence_shown(self, cluster: Cluster) -> str:
        return f"{cluster.confidence:.2f}"

    def render_change_form(self, request: HttpRequest, context: dict, *args: Any, **kwargs: Any) -> HttpResponse:
        if (cluster := kwargs.get("obj")) and request.user.has_perm("memories.view_memory"):
            page = paginate_members(cluster, request.GET.get("page"))
            context |= {"page": page, "memories": [(get_memory_url(each), each) for each in page]}
        return super().render_change_form(request, context, *args, **kwargs)


def paginate_members(cluster: Cluster, number: str | None) -> Page:
    """Return a page of members, newest first. An invalid page number gives the nearest page."""
    rows = get_members_queryset(cluster.namespace_id, cluster.memory_type, cluster.key).newest_first()
    rows = rows.annotate(beginning=Left("content", MEMBER_PREVIEW_LENGTH)).only("user_id", "created_at")
    paginator = Paginator(rows, MEMBERS_PER_PAGE)
    paginator.count = cluster.member_count  # counted already
    return paginator.get_page(number)
