"""What the admin pages of documents and ingestions share."""

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode

from memory_site.core.admin.base import NoLookupAdmin
from memory_site.core.admin.filters import ExactFilter
from memory_site.core.admin.formatting import format_number
from memory_site.core.admin.schema_forms import MAX_SEARCHED_ROWS, filter_newest

NOWRAP_HTML = '<span class="whitespace-nowrap">{}</span>'


def build_admin_url(model: str, *args: object, view: str = "changelist", **parameters: Any) -> str:
    url = reverse(f"admin:ingestion_{model}_{view}", args=args)
    return f"{url}?{urlencode(parameters)}" if parameters else url


class IngestionBaseAdmin(NoLookupAdmin):
    """Read-only pages: lists are sorted newest first, and their search covers only the newest rows."""

    ordering = ("-created_at", "-id")
    compressed_fields = False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("namespace")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"searched": format_number(MAX_SEARCHED_ROWS)} | (extra_context or {}))

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        matches = Q(*[(f"{column}__icontains", text) for column in self.search_fields], _connector=Q.OR)
        return (filter_newest(queryset, matches) if text else queryset), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RepositoryFilter(ExactFilter):
    title, parameter_name = "repository", "repo_id"
