"""The read-only admin page of re-embeddings and their progress."""

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.decorators import display

from memories.models import Reembedding
from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime, format_number, render_progress_bar

RUN_STATE_COLOURS = {"making vectors": "info", "deleting old vectors": "info", "done": "success", "stopped": "danger"}


def get_run_state(run: Reembedding) -> str:
    if run.finished_at is not None:
        return "done" if run.switched_at is not None else "stopped"
    return "making vectors" if run.switched_at is None else "deleting old vectors"


@admin.register(Reembedding)
class ReembeddingAdmin(ReadOnlyAdmin):
    empty_text = "A run appears when a namespace moves to another embedding model: manage.py reembed."
    list_display = ("model", "earlier_model", "namespace", "state", "progress", "refused", "started", "error")
    list_display_links = None
    list_select_related = ("namespace",)
    ordering = ("-created_at", "-id")

    @display(description="state", label=RUN_STATE_COLOURS)
    def state(self, run: Reembedding) -> str:
        return get_run_state(run)

    @display(description="progress")
    def progress(self, run: Reembedding) -> SafeString:
        total = run.memories_total or 0
        percent = min(100 * run.memories_done // max(total, 1), 100)
        colour = "completed" if run.switched_at else "failed" if run.finished_at else "in_progress"
        return render_progress_bar(f"{format_number(run.memories_done)} of {format_number(total)}", colour, percent)

    @display(description="refused")
    def refused(self, run: Reembedding) -> str:
        return format_number(run.memories_refused)

    @display(description="started")
    def started(self, run: Reembedding) -> SafeString:
        return format_datetime(run.created_at)
