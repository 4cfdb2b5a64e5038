"""The console's trash: deleted memories, which come back one by one or as selected."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm

from memories import tasks
from memories.history.admin.base import VersionAdmin
from memories.history.models import MemoryVersion, TrashedMemory
from memories.history.restore import MAX_BATCH, Restored, restore_deleted
from memories.history.trash import find_end, list_trash
from memory_site.core.admin.formatting import format_datetime, format_number


class RestoreForm(BaseDialogForm):
    """A form without fields: submitting it is the confirmation."""


@admin.register(TrashedMemory)
class TrashAdmin(VersionAdmin):
    empty_text = (
        "Deleted memories stay here for a few days, whatever deleted them, and can be brought back with their "
        "relationships. What expired, was erased with its user or replaced by an ingestion is gone at once."
    )
    list_display = ("beginning", "kind", "whose", "namespace", "actor", "moment", "until")
    actions = ("restore_selected",)
    actions_detail = ("restore_this",)
    fieldsets = ((None, {"fields": (("actor", "moment", "until"), ("whose", "namespace"), "content", "fields_shown")}),)
    readonly_fields = ("actor", "moment", "until", "whose", "namespace", "content", "fields_shown")

    def select_rows(self) -> QuerySet:
        return list_trash(None, model=TrashedMemory)

    def has_restore_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("history.change_trashedmemory")

    @display(description="leaves")
    def until(self, version: MemoryVersion) -> SafeString | None:
        return format_datetime(find_end(version.changed_at, version.expires_at))

    @admin.action(description="Restore", permissions=["restore"])
    def restore_selected(self, request: HttpRequest, queryset: QuerySet) -> None:
        self.restore(request, queryset)

    @action(
        description="Restore",
        icon="restore_from_trash",
        permissions=["restore"],
        dialog={
            "title": "Restore this memory?",
            "description": "It comes back with its id, tags and relationships, and is embedded again.",
            "form_class": RestoreForm,
            "form_submit_text": "Restore",
        },
    )
    def restore_this(self, request: HttpRequest, form: RestoreForm, object_id: str) -> HttpResponse:
        version = self.get_object(request, object_id)
        restored = self.restore(request, [version]) if version else Restored()
        page = reverse("admin:history_trashedmemory_changelist")
        if restored.ids:
            page = reverse("admin:memories_memory_change", args=[restored.ids[0]])
        return HttpResponse(headers={"HX-Redirect": page})

    def restore(self, request: HttpRequest, versions: Iterable[MemoryVersion]) -> Restored:
        by_namespace: dict[int, list[UUID]] = defaultdict(list)
        for version in versions:
            by_namespace[version.namespace_id].append(version.memory_id)
            self.log_change(request, version, "Restored.")
        restored = Restored()
        for namespace_id, ids in by_namespace.items():
            for start in range(0, len(ids), MAX_BATCH):
                restored += restore_deleted(namespace_id, ids[start : start + MAX_BATCH])
        tasks.embedding_trigger.notify_on_commit()
        report(request, restored)
        return restored


def report(request: HttpRequest, restored: Restored) -> None:
    if restored.ids:
        number = len(restored.ids)
        words = "1 memory is" if number == 1 else f"{format_number(number)} memories are"
        messages.success(request, f"{words} back. They can be found by meaning again once a worker has embedded them.")
    for reason, number in Counter(restored.left.values()).items():
        messages.warning(request, f"Left in the trash: {format_number(number)}. {reason}")
