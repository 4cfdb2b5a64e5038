"""The console's audit of erased users."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from memories.graph.models import Erasure
from memory_site.console import ConsoleAdmin, grouped, moment


@admin.register(Erasure)
class ErasureAdmin(ConsoleAdmin):
    list_display = ("at", "namespace", "by", "digest", "what")
    list_display_links = None
    ordering = ("-created_at", "-id")
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("namespace")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Erasure | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Erasure | None = None) -> bool:
        return False

    @display(description="erased")
    def at(self, line: Erasure) -> SafeString:
        return moment(line.created_at)

    @display(description="SHA-256 of the user's id")
    def digest(self, line: Erasure) -> str:
        return f"{bytes(line.user_digest).hex()[:16]}…"

    @display(description="what")
    def what(self, line: Erasure) -> str:
        return ", ".join(f"{grouped(number)} {kind.replace('_', ' ')}" for kind, number in line.erased.items())
