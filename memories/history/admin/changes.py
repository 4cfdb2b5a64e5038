"""The console's list of changes and deletions of memories, and the page of one."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject, Now
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from pydantic_core import to_json
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from memories.admin.relationships import format_memory_link
from memories.history.admin.base import VersionAdmin
from memories.history.models import MemoryVersion, Operation
from memories.history.versions import Change, find_changes, list_kept_fields
from memories.models import Memory

CHANGE_HTML = (
    '<tr class="border-t border-base-200 dark:border-base-800 align-top"><th class="py-2 pr-4 text-left font-medium">{}'
    '</th><td class="py-2 pr-4 whitespace-pre-wrap">{}</td><td class="py-2 whitespace-pre-wrap">{}</td></tr>'
)
CHANGES_HTML = (
    '<table class="w-full text-sm"><thead><tr><th class="pr-4 text-left">Field</th><th class="pr-4 text-left">Before'
    '</th><th class="text-left">After</th></tr></thead><tbody>{}</tbody></table>'
)
NO_CHANGES = "The memory was deleted: what stood there is below."
UNKNOWN_CHANGES = "What came after is not known: the memory is gone without a trace of its deletion."
MAX_SHOWN_VALUE = 2_000
PERIODS = [("1", "in the last hour"), ("24", "in the last 24 hours"), ("168", "in the last 7 days")]
OPERATION_COLOURS = {"changed": "info", "deleted": "warning"}


class OperationFilter(DropdownFilter):
    title, parameter_name = "what", "operation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return Operation.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(operation=self.value()) if self.value() in Operation.values else queryset


class ChangedFilter(DropdownFilter):
    title, parameter_name = "time", "hours"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return PERIODS

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in dict(PERIODS):
            return queryset
        return queryset.filter(changed_at__gte=Now() - timedelta(hours=int(self.value())))


@admin.register(MemoryVersion)
class MemoryVersionAdmin(VersionAdmin):
    empty_text = (
        "Each change and deletion of a memory appears here with who did it, whatever did it: the API, this console, "
        "commands, tasks or SQL."
    )
    list_filter = (*VersionAdmin.list_filter, OperationFilter, ChangedFilter)
    list_display = ("beginning", "operation_shown", "fields_changed", "actor", "whose", "namespace", "moment")
    fieldsets = (
        (None, {"fields": (("operation_shown", "moment"), "actor", ("request_shown", "job_shown"), "memory_shown")}),
        ("What changed", {"fields": ("changes_shown",)}),
        ("What stood there before", {"fields": ("content", "fields_shown")}),
    )
    readonly_fields = (
        *("operation_shown", "actor", "moment", "request_shown", "job_shown", "memory_shown", "changes_shown"),
        *("content", "fields_shown"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Select each version with the row that came after it: that of the next one, or the memory's own."""
        own = {"namespace": OuterRef("namespace"), "memory_id": OuterRef("memory_id")}
        later = MemoryVersion.objects.filter(**own, changed_at__gt=OuterRef("changed_at")).order_by("changed_at")
        present = Memory.objects.filter(namespace=OuterRef("namespace"), pk=OuterRef("memory_id"))
        row = JSONObject(**{name: F(name) for name in list_kept_fields()})
        return (
            super()
            .get_queryset(request)
            .annotate(later_row=Subquery(later.values("row")[:1]), present_row=Subquery(present.values(kept=row)[:1]))
        )

    def list_changes(self, version: MemoryVersion) -> list[Change] | None:
        after: Any = version.later_row or version.present_row
        return find_changes(version.row, after) if version.operation == Operation.UPDATE and after else None

    @display(description="what", label=OPERATION_COLOURS)
    def operation_shown(self, version: MemoryVersion) -> str:
        return version.get_operation_display()

    @display(description="fields", empty_value="")
    def fields_changed(self, version: MemoryVersion) -> str:
        return ", ".join(change.field.replace("_", " ") for change in self.list_changes(version) or ())

    @display(description="request", empty_value="none")
    def request_shown(self, version: MemoryVersion) -> str | None:
        return version.request_id or None

    @display(description="job", empty_value="none")
    def job_shown(self, version: MemoryVersion) -> Any:
        return version.job_id

    @display(description="memory now")
    def memory_shown(self, version: MemoryVersion) -> SafeString | str:
        if not version.present_row:
            return "It is no longer there."
        return format_memory_link(version.memory_id, version.present_row["content"])

    @display(description="changes")
    def changes_shown(self, version: MemoryVersion) -> SafeString | str:
        changes = self.list_changes(version)
        if changes is None:
            return NO_CHANGES if version.operation == Operation.DELETE else UNKNOWN_CHANGES
        rows = ((change.field.replace("_", " "), show(change.before), show(change.after)) for change in changes)
        return format_html(CHANGES_HTML, format_html_join("", CHANGE_HTML, rows))


def show(value: Any) -> str:
    """Return a value as words: lists with commas, objects as JSON."""
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = value if isinstance(value, str) else to_json(value, indent=2).decode()
    return text if len(text) <= MAX_SHOWN_VALUE else f"{text[:MAX_SHOWN_VALUE]}…"
