"""The console's page of changes of the embedding model, how far they are, and nothing to do by hand."""

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.decorators import display

from memories.models import Reembedding
from memory_site.core.admin.base import ReadAdmin
from memory_site.core.admin.formatting import grouped, moment, progress_bar

COLOURS = {"making vectors": "info", "removing the old ones": "info", "done": "success", "stopped": "danger"}


def state_of(run: Reembedding) -> str:
    if run.finished_at is not None:
        return "done" if run.switched_at is not None else "stopped"
    return "making vectors" if run.switched_at is None else "removing the old ones"


@admin.register(Reembedding)
class ReembeddingAdmin(ReadAdmin):
    list_display = ("model", "earlier_model", "namespace", "state", "progress", "refused", "begun", "error")
    list_display_links = None
    list_select_related = ("namespace",)
    ordering = ("-created_at", "-id")

    @display(description="state", label=COLOURS)
    def state(self, run: Reembedding) -> str:
        return state_of(run)

    @display(description="progress")
    def progress(self, run: Reembedding) -> SafeString:
        total = run.memories_total or 0
        percent = min(100 * run.memories_done // max(total, 1), 100)
        colour = "completed" if run.switched_at else "failed" if run.finished_at else "in_progress"
        return progress_bar(f"{grouped(run.memories_done)} of {grouped(total)}", colour, percent)

    @display(description="refused")
    def refused(self, run: Reembedding) -> str:
        return grouped(run.memories_refused)

    @display(description="begun")
    def begun(self, run: Reembedding) -> SafeString:
        return moment(run.created_at)
