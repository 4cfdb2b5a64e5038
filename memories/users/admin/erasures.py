"""The audit of erased users in the console."""

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.decorators import display

from memories.graph.models import Erasure
from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime, format_number


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    empty_text = "A receipt appears here when all data of a user is erased."
    list_display = ("at", "namespace", "requested_by", "digest", "what")
    list_display_links = None
    list_select_related = ("namespace",)
    ordering = ("-created_at", "-id")

    @display(description="erased", ordering="created_at")
    def at(self, line: Erasure) -> SafeString:
        return format_datetime(line.created_at)

    @display(description="SHA-256 of the user's id")
    def digest(self, line: Erasure) -> str:
        return f"{bytes(line.user_digest).hex()[:16]}…"

    @display(description="what")
    def what(self, line: Erasure) -> str:
        return ", ".join(f"{format_number(number)} {kind.replace('_', ' ')}" for kind, number in line.erased.items())
