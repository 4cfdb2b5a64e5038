"""The console's page of heartbeats."""

from functools import partial

from django.contrib import admin
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display

from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime
from memory_site.operations.admin.health import show_health
from memory_site.operations.models import MAX_HEARTBEAT_AGE, Heartbeat


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    """The last sign of life of each web process and worker, and of beat."""

    empty_text = "Workers and the scheduler report here once they run."
    list_display = ("name", "state", "seen", "connections")
    list_filter = ("kind",)
    ordering = ("name",)

    def get_urls(self) -> list[URLPattern]:
        """Add the health page, named like a list because the side bar links to lists."""
        view = self.admin_site.admin_view(partial(show_health, model_admin=self))
        return [path("health/", view, name="operations_health_changelist"), *super().get_urls()]

    @display(description="state", label={"alive": "success", "missing": "danger"})
    def state(self, heartbeat: Heartbeat) -> str:
        return "alive" if timezone.now() - heartbeat.seen_at < MAX_HEARTBEAT_AGE else "missing"

    @display(description="last seen")
    def seen(self, heartbeat: Heartbeat) -> SafeString | None:
        return format_datetime(heartbeat.seen_at)
