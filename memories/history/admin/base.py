"""What the lists of changes and of the trash have in common."""

from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from memories.admin.search import parse_uuid_or_none
from memories.history.models import MemoryVersion
from memories.memory_types import MemoryType
from memory_site.core.admin.base import NoLookupAdmin, ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime, render_json, render_two_lines
from sessions_app.admin.namespaces import NamespaceFilter

#: Characters of a text that a list reads.
EXCERPT_LENGTH = 200


class KeptTypeFilter(DropdownFilter):
    title, parameter_name = "type", "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.value, kind.value) for kind in MemoryType]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(row__memory_type=self.value()) if self.value() in set(MemoryType) else queryset


class ActorFilter(DropdownFilter):
    title, parameter_name = "by", "by"
    KINDS = {"key": "API keys", "console": "the console", "command": "commands", "task": "tasks", "database": "SQL"}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(self.KINDS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(changed_by__startswith=f"{self.value()}:") if self.value() in self.KINDS else queryset


class VersionAdmin(ReadOnlyAdmin, NoLookupAdmin):
    """Pages of versions: what stood in a memory, who changed it and when."""

    list_filter = (NamespaceFilter, KeptTypeFilter, ActorFilter)
    list_select_related = ("namespace",)
    list_display_links = ("beginning",)
    ordering = ("-changed_at", "-id")
    search_fields = ("memory_id",)  # shows the search box; get_search_results searches
    search_help_text = "A memory's id, a user, who did it, or the id of a request or job"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        content = Left(KeyTextTransform("content", "row"), EXCERPT_LENGTH, output_field=TextField())
        return self.select_rows().select_related("namespace").annotate(excerpt=content)

    def select_rows(self) -> QuerySet:
        return MemoryVersion.objects.all()

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        if not text or "\0" in text:
            return (queryset.none() if text else queryset), False
        if pk := parse_uuid_or_none(text):
            return queryset.filter(Q(memory_id=pk) | Q(job_id=pk) | Q(request_id=text)), False
        return queryset.filter(Q(user_id=text) | Q(changed_by=text) | Q(request_id=text)), False

    @display(description="memory")
    def beginning(self, version: MemoryVersion) -> SafeString:
        return render_two_lines(version.excerpt or "")

    @display(description="type")
    def kind(self, version: MemoryVersion) -> str:
        return version.row.get("memory_type", "")

    @display(description="by")
    def actor(self, version: MemoryVersion) -> str:
        return version.changed_by

    @display(description="user", empty_value="none")
    def whose(self, version: MemoryVersion) -> str | None:
        return version.user_id

    @display(description="when", ordering="changed_at")
    def moment(self, version: MemoryVersion) -> SafeString | None:
        return format_datetime(version.changed_at)

    @display(description="text")
    def content(self, version: MemoryVersion) -> str:
        return version.row.get("content", "")

    @display(description="all fields")
    def fields_shown(self, version: MemoryVersion) -> SafeString:
        return render_json({name: value for name, value in version.row.items() if name != "content"})
