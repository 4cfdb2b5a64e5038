"""Console pages of links between sessions."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from memory_site.core.admin.base import LinkAdmin
from memory_site.core.admin.formatting import truncate
from memory_site.core.admin.schema_forms import refuse_duplicate
from memory_site.core.http.fields import check_visible
from sessions_app.admin.namespaces import NamespaceFilter
from sessions_app.admin.session_urls import get_session_url, select_live_session_pk
from sessions_app.models import SessionLink
from sessions_app.models.sessions import LinkType
from sessions_app.schemas.sessions import check_session_id

MAX_LINK_CONTEXT_LENGTH = 10_000
SESSION_ID_FIELDS = ("source_session_id", "target_session_id")
LINK_HTML = (
    '<span class="spoken-name">{}</span> <span class="spoken-arrow">→</span> <span class="spoken-name">{}</span>'
)
DUPLICATE_LINK = "A link of this type between these sessions already exists."
LINK_TYPE_COLOURS = {
    LinkType.CONTINUATION: "success",
    LinkType.REFERENCE: "info",
    LinkType.DEPENDENCY: "warning",
    LinkType.RELATED: "primary",
}


def annotate_live_sessions(links: QuerySet) -> QuerySet:
    return links.annotate(**{f"{name}_pk": select_live_session_pk(name) for name in SESSION_ID_FIELDS})


class LinkTypeFilter(DropdownFilter):
    title, parameter_name = "type", "link_type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return LinkType.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(link_type=self.value()) if self.value() in LinkType.values else queryset


class SessionLinkForm(forms.ModelForm):
    context = forms.CharField(
        required=False,
        max_length=MAX_LINK_CONTEXT_LENGTH,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Why they are linked.",
    )

    class Meta:
        model = SessionLink
        fields = ("namespace", *SESSION_ID_FIELDS, "link_type", "context")

    def clean_source_session_id(self) -> str:
        return clean_session_id(self.cleaned_data["source_session_id"])

    def clean_target_session_id(self) -> str:
        return clean_session_id(self.cleaned_data["target_session_id"])

    def clean_context(self) -> str | None:
        return self.cleaned_data["context"].replace("\r\n", "\n") or None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        source, target = (cleaned.get(name) for name in SESSION_ID_FIELDS)
        if source and source == target:
            self.add_error(SESSION_ID_FIELDS[1], "A session cannot be linked to itself.")
        if not self.errors:
            self._reject_duplicate(cleaned)
        return cleaned

    def _reject_duplicate(self, cleaned: dict[str, Any]) -> None:
        """Check the unique constraint before saving, and link to the existing link in the error message."""
        identity = {name: cleaned[name] for name in (*SESSION_ID_FIELDS, "link_type")}
        identity["namespace"] = cleaned.get("namespace") or self.instance.namespace_id
        refuse_duplicate(self, SessionLink.objects.filter(**identity), DUPLICATE_LINK)

    def _get_validation_exclusions(self) -> set[str]:
        """Exclude the namespace, so that `_reject_duplicate` reports the duplicate and not Django's own check."""
        return super()._get_validation_exclusions() | {"namespace"}


def clean_session_id(text: str) -> str:
    try:
        return check_session_id(check_visible(text))
    except ValueError as error:
        raise forms.ValidationError(f"This {error}.") from error


@admin.register(SessionLink)
class SessionLinkAdmin(LinkAdmin):
    empty_text = "API clients link a session to the one that it continues or refers to."
    form = SessionLinkForm
    list_display = ("ends", "type_label", "context_excerpt", "namespace", "created")
    list_display_links = ("ends",)
    list_select_related = ("namespace",)
    list_filter = (NamespaceFilter, LinkTypeFilter)
    list_before_template = "admin/sessions_app/sessionmemory/links_empty.html"
    ordering = ("-id",)  # the order of creation, by the primary key's index
    search_fields = ("source_session_id",)  # shows the search box; see get_search_results
    search_help_text = "Id of either session, or its beginning"
    autocomplete_fields = ("namespace",)
    readonly_fields = ("sessions", "created", "updated")
    add_fieldsets = ((None, {"fields": ("namespace", *SESSION_ID_FIELDS, "link_type", "context")}),)
    fields = ("namespace", *SESSION_ID_FIELDS, "link_type", "context", "sessions", "created", "updated")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return annotate_live_sessions(SessionLink.objects.select_related("namespace"))

    def get_readonly_fields(self, request: HttpRequest, obj: SessionLink | None = None) -> tuple[str, ...]:
        """Make the namespace of a link read-only: its sessions are in that namespace."""
        return (*self.readonly_fields, "namespace") if obj else self.readonly_fields

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        either = Q(source_session_id__startswith=text) | Q(target_session_id__startswith=text)
        return (queryset.filter(either) if text else queryset), False

    @display(description="link", ordering="source_session_id")
    def ends(self, link: SessionLink) -> SafeString:
        ids = (truncate(each, 60) for each in (link.source_session_id, link.target_session_id))
        return format_html(LINK_HTML, *ids)

    @display(description="type", label=LINK_TYPE_COLOURS, ordering="link_type")
    def type_label(self, link: SessionLink) -> str:
        return link.link_type

    @display(description="context", empty_value="-", ordering="context")
    def context_excerpt(self, link: SessionLink) -> str | None:
        return link.context and truncate(link.context[:200], 80)

    @display(description="sessions")
    def sessions(self, link: SessionLink) -> SafeString | str:
        """Return links to those of the two sessions that have not expired."""
        ends = (
            (link.source_session_id_pk, link.source_session_id),
            (link.target_session_id_pk, link.target_session_id),
        )
        live = [(get_session_url(pk), session_id) for pk, session_id in ends if pk]
        return (
            format_html_join(" · ", '<a href="{}" class="underline">{}</a>', live)
            or "Both have expired or do not exist."
        )
