"""Console pages of sessions."""

from datetime import timedelta
from functools import partial
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import F, Func, JSONField, Q, QuerySet, Sum, Value
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from memory_site.core.admin.base import NoLookupAdmin
from memory_site.core.admin.formatting import format_datetime, format_number, render_two_lines
from sessions_app.admin.namespaces import NamespaceFilter
from sessions_app.admin.session_links import LINK_TYPE_COLOURS, annotate_live_sessions
from sessions_app.admin.session_urls import get_changelist_url, get_session_url
from sessions_app.admin.statistics import statistics_view
from sessions_app.admin.text_blocks import build_text_block
from sessions_app.encryption import HistoryUnreadable, Interaction, decrypt
from sessions_app.models import Conversation, SessionLink, SessionMemory
from sessions_app.models.sessions import MAX_TTL_HOURS, SessionQuerySet, expiry_cutoff

#: Links and conversations shown on a session's page, which links to the full lists.
MAX_RELATED_ROWS = 20
ACTIVE_HOURS = [("1", "in the last hour"), ("24", "in the last 24 hours")]


def build_exchange_blocks(stored: Interaction) -> list[dict[str, Any]]:
    """Return query and answer of a stored interaction; only its time when it cannot be decrypted."""
    at = stored["timestamp"][:19].replace("T", " ")
    try:
        interaction = decrypt(stored)
    except HistoryUnreadable:
        return [build_text_block("sealed", None, at)]
    return [
        build_text_block("user", interaction["query"], at),
        build_text_block("assistant", interaction["answer"], at),
    ]


class SessionForm(forms.ModelForm):
    ttl_hours = forms.FloatField(
        label="Time to live, in hours",
        required=False,
        max_value=MAX_TTL_HOURS,
        widget=UnfoldAdminTextInputWidget,
    )

    class Meta:
        model = SessionMemory
        fields = ("ttl_hours",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "ttl_hours" in self.fields:  # absent without the permission to change it
            own = self.instance.ttl_hours
            self.initial["ttl_hours"] = int(own) if own and own.is_integer() else own
            self.fields["ttl_hours"].help_text = (
                f"Older interactions are hidden, and removed by the next read or addition. Empty: the default of "
                f"{settings.MEMORY_TTL_HOURS:g} hours."
            )

    def clean_ttl_hours(self) -> float | None:
        hours = self.cleaned_data["ttl_hours"]
        if hours is not None and hours <= 0:
            raise forms.ValidationError("This must be more than 0.")
        return hours


class ActiveFilter(DropdownFilter):
    """Sessions that were added to of late."""

    title, parameter_name = "activity", "active"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return ACTIVE_HOURS

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in dict(ACTIVE_HOURS):
            return queryset
        return queryset.filter(updated_at__gt=Now() - timedelta(hours=int(self.value())))


@admin.register(SessionMemory)
class SessionAdmin(NoLookupAdmin):
    empty_text = "A session starts with its first interaction and ends when its time to live is over."
    form = SessionForm
    list_display = ("name", "namespace", "interactions", "time_to_live", "updated")
    list_display_links = ("name",)
    list_select_related = ("namespace",)
    list_filter = (NamespaceFilter, ActiveFilter)
    list_before_template = "admin/sessions_app/sessionmemory/list_empty.html"
    ordering = ("-updated_at", "-id")
    search_fields = ("session_id",)  # shows the search box; see get_search_results
    search_help_text = "Session id, or its beginning"
    compressed_fields = False
    fields = (("session_id", "namespace", "interactions"), ("ttl_hours", "updated", "created"))
    readonly_fields = ("session_id", "namespace", "interactions", "updated", "created")
    change_form_outer_after_template = "admin/sessions_app/sessionmemory/history.html"
    delete_confirmation_template = "admin/sessions_app/sessionmemory/delete_confirmation.html"
    delete_selected_confirmation_template = "admin/sessions_app/sessionmemory/delete_selected_confirmation.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the statistics page, named like a list because the side bar links to lists."""
        view = self.admin_site.admin_view(partial(statistics_view, model_admin=self))
        return [path("statistics/", view, name="sessions_app_sessionstatistics_changelist"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> SessionQuerySet:
        """Leave out the histories, which can be megabytes; the database counts their length."""
        return SessionMemory.objects.alive().with_length().select_related("namespace").defer("history")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        return (queryset.filter(session_id__startswith=text) if text else queryset), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: sessions are created by interactions."""
        return False

    @display(description="session", ordering="session_id")
    def name(self, session: SessionMemory) -> SafeString:
        return render_two_lines(session.session_id)

    @display(description="interactions", ordering="history_length")
    def interactions(self, session: SessionMemory) -> str:
        return format_number(session.history_length)

    @display(description="time to live", ordering="ttl_hours")
    def time_to_live(self, session: SessionMemory) -> SafeString:
        own = session.ttl_hours
        text = f"default ({settings.MEMORY_TTL_HOURS:g} h)" if own is None else f"{own:g} h"
        return format_html('<span class="whitespace-nowrap">{}</span>', text)

    @display(description="updated", ordering="updated_at")
    def updated(self, session: SessionMemory) -> SafeString | None:
        return format_datetime(session.updated_at)

    @display(description="created")
    def created(self, session: SessionMemory) -> SafeString | None:
        return format_datetime(session.created_at)

    def render_change_form(self, request: HttpRequest, context: dict, *args: Any, **kwargs: Any) -> HttpResponse:
        if session := kwargs.get("obj"):
            context |= build_page_context(session)
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: SessionMemory, form: SessionForm, change: bool) -> None:
        """Update only this column: the history may have grown meanwhile."""
        SessionMemory.objects.filter(pk=obj.pk).update(ttl_hours=obj.ttl_hours)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        sessions = SessionMemory.objects.filter(pk__in=[session.pk for session in objs]).with_length()
        interactions = sessions.aggregate(sum=Sum("history_length"))["sum"] or 0
        shown = [format_html('<a href="{}">{}</a>', get_session_url(session.pk), session) for session in objs]
        return shown, {"sessions": len(shown), "interactions": interactions}, set(), []


def build_page_context(session: SessionMemory) -> dict[str, Any]:
    """Return what a session's page shows besides the form: interactions, links in both directions, conversations."""
    stored = fetch_live_interactions(session)
    blocks = [block for interaction in stored for block in build_exchange_blocks(interaction)]
    link_search = {"namespace": session.namespace_id, "q": session.session_id}
    same_session = {"namespace": session.namespace_id, "session_id": session.session_id}
    conversations = Conversation.objects.filter(**same_session).defer("metadata").order_by("-started_at", "-id")
    return {
        "blocks": blocks,
        "encrypted": any("sealed" in interaction for interaction in stored),
        "unreadable": any(block["role"] == "sealed" for block in blocks),
        "links": fetch_links(session),
        "all_links": get_changelist_url("sessionlink", **link_search),
        "conversations": conversations[:MAX_RELATED_ROWS],
        "all_conversations": get_changelist_url("conversation", **same_session),
    }


def fetch_live_interactions(session: SessionMemory) -> list[Interaction]:
    """Return the unexpired stored interactions, oldest first, without removing the others."""
    most = Value(settings.MEMORY_MAX_CONTEXT_LENGTH)
    history = Func(F("history"), expiry_cutoff(), most, function="sessions_trim_history", output_field=JSONField())
    return next(iter(SessionMemory.objects.filter(pk=session.pk).values_list(history, flat=True)), [])


def fetch_links(session: SessionMemory) -> list[dict[str, Any]]:
    own = Q(source_session_id=session.session_id) | Q(target_session_id=session.session_id)
    links = SessionLink.objects.filter(own, namespace=session.namespace_id).order_by("-id")
    return [
        {
            "link": link,
            "outwards": link.source_session_id == session.session_id,
            "colour": LINK_TYPE_COLOURS[link.link_type],
        }
        for link in annotate_live_sessions(links)[:MAX_RELATED_ROWS]
    ]
