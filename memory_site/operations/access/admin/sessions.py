"""The console's page of its own sessions."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime
from memory_site.operations.access.agents import describe_agent
from memory_site.operations.access.events import record
from memory_site.operations.access.models import ConsoleSession, EventKind
from memory_site.operations.access.sessions import list_sessions


class EndForm(BaseDialogForm):
    """A form without fields: submitting it is the confirmation."""


@admin.register(ConsoleSession)
class ConsoleSessionAdmin(ReadOnlyAdmin):
    empty_text = "Who is logged in to this console."
    list_display = ("account", "agent_name", "address", "seen", "created")
    list_display_links = None
    list_select_related = ("user",)
    search_fields = ("user__username", "address")
    search_help_text = "Account or address"
    ordering = ("-seen_at",)
    fields = readonly_fields = ("account", "agent_name", "address", "seen", "created")
    actions = ("end_selected",)
    actions_row = ("end",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Return those that go on."""
        return list_sessions().select_related("user").defer("session_data")

    def has_end_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("access.delete_consolesession")

    @display(description="account")
    def account(self, session: ConsoleSession) -> str:
        return str(session.user)

    @display(description="browser")
    def agent_name(self, session: ConsoleSession) -> str:
        return describe_agent(session.agent)

    @display(description="last seen")
    def seen(self, session: ConsoleSession) -> SafeString | None:
        return format_datetime(session.seen_at)

    @display(description="logged in")
    def created(self, session: ConsoleSession) -> SafeString | None:
        return format_datetime(session.created_at)

    @action(
        description="End",
        icon="logout",
        variant=ActionVariant.DANGER,
        permissions=["end"],
        dialog={
            "title": "End this session?",
            "description": "Its next request meets the login page.",
            "form_class": EndForm,
            "form_submit_text": "End",
        },
    )
    def end(self, request: HttpRequest, form: EndForm, object_id: str) -> HttpResponse:
        self.end_sessions(request, list_sessions().filter(session_key=object_id))
        return HttpResponse(headers={"HX-Redirect": reverse("admin:access_consolesession_changelist")})

    @admin.action(description="End the selected sessions", permissions=["end"])
    def end_selected(self, request: HttpRequest, queryset: Any) -> None:
        self.end_sessions(request, queryset)

    def end_sessions(self, request: HttpRequest, sessions: QuerySet) -> None:
        names = list(sessions.values_list("user__username", flat=True))
        ConsoleSession.objects.filter(pk__in=list(sessions.values_list("pk", flat=True))).delete()
        for name in names:
            record(EventKind.SESSION_ENDED, request=request, subject=name)
        messages.success(request, f"Ended: {', '.join(names) or 'none'}.")
