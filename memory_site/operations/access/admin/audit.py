"""The console's audit page: one list of all changes and actions, to read only."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminSingleDateWidget, UnfoldAdminTextInputWidget

from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime
from memory_site.core.csv_rows import format_csv_row
from memory_site.operations.access.models import AccessEvent
from memory_site.operations.audit.lines import AuditLine, AuditQuery, iterate_lines, normalise_actor, read_lines
from memory_site.operations.audit.sources import SOURCES

PAGE_LENGTH = 50
MIN_YEAR, MAX_YEAR = 2000, 2200
KINDS = {
    "console": "Done in the console",
    "memories": "Changes of memories",
    "jobs": "Jobs",
    "keys": "API keys",
    "logins": "Logins and sessions",
    "erasures": "Erasures",
    "sql": "Read-only SQL",
}
COLUMNS = ("at", "kind", "actor", "what", "subject", "address", "request_id")
HEADERS = ["when", "who", "what", "on", "from"]


def check_year(day: date) -> None:
    """Refuse days that PostgreSQL or Python cannot count on from."""
    if not MIN_YEAR <= day.year <= MAX_YEAR:
        raise forms.ValidationError(f"The year must lie between {MIN_YEAR} and {MAX_YEAR}.")


class AuditForm(forms.Form):
    kind = forms.ChoiceField(
        required=False, choices=[("", "Everything"), *KINDS.items()], widget=UnfoldAdminSelectWidget, label="What"
    )
    who = forms.CharField(
        required=False,
        max_length=255,
        label="Who",
        widget=UnfoldAdminTextInputWidget({"placeholder": "admin, mem_1a2b… or command:forget"}),
    )
    since = forms.DateField(required=False, validators=[check_year], widget=UnfoldAdminSingleDateWidget, label="From")
    until = forms.DateField(required=False, validators=[check_year], widget=UnfoldAdminSingleDateWidget, label="To")

    def build_query(self) -> AuditQuery:
        data = self.cleaned_data
        since, until = data["since"], data["until"]
        return AuditQuery(
            kind=data["kind"],
            actor=normalise_actor(data["who"]),
            since=begin(since) if since else None,
            before=begin(until + timedelta(days=1)) if until else None,
        )


def begin(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


@admin.register(AccessEvent)
class AuditAdmin(ReadOnlyAdmin):
    empty_text = "Each change and each action of the console, of keys and of commands appears here."

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export)
        return [path("export/", export, name="access_accessevent_export"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.require_permission(request)
        form = AuditForm(request.GET or None)
        query = form.build_query() if form.is_valid() else AuditQuery()
        page = replace_before(query, request.GET.get("before", ""))
        lines = [] if form.is_bound and not form.is_valid() else read_lines(SOURCES, page, PAGE_LENGTH)
        context = {
            **self.admin_site.each_context(request),
            "title": "Audit",
            "opts": self.opts,
            "form": form,
            "media": self.media + form.media,
            "table": {"headers": HEADERS, "rows": [build_row(line) for line in lines]},
            "older": build_address(request, before=lines[-1].at.isoformat()) if len(lines) >= PAGE_LENGTH else None,
            "newest": build_address(request, before=None) if request.GET.get("before") else None,
            "export": f"{reverse('admin:access_accessevent_export')}{build_address(request, before=None)}",
        }
        return TemplateResponse(request, "admin/access/audit.html", context)

    def export(self, request: HttpRequest) -> HttpResponse:
        """Stream the lines as CSV."""
        self.require_permission(request)
        form = AuditForm(request.GET)
        if not form.is_valid():
            return HttpResponse("The filters cannot be read.", status=400, content_type="text/plain")
        name = f"audit-{timezone.now():%Y-%m-%d}.csv"
        return StreamingHttpResponse(
            write_csv(iterate_lines(SOURCES, form.build_query())),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        )

    def require_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


def replace_before(query: AuditQuery, text: str) -> AuditQuery:
    """Return the query of the next page. What is no time of a page is no error."""
    try:
        before = parse_datetime(text) if text else None
    except ValueError:
        before = None
    if before is None or timezone.is_naive(before):
        return query
    return AuditQuery(query.kind, query.actor, query.since, min(before, query.before or before))


def build_address(request: HttpRequest, **changes: str | None) -> str:
    values = {name: value for name, value in (request.GET.dict() | changes).items() if value}
    return f"?{urlencode(values)}"


def build_row(line: AuditLine) -> list[Any]:
    subject = format_html('<a href="{}" class="underline">{}</a>', line.url, line.subject) if line.url else line.subject
    return [format_datetime(line.at), describe_actor(line.actor), line.what, subject or "-", line.address or "-"]


def describe_actor(actor: str) -> str:
    """Return "admin", "key mem_1a2b", "command forget"."""
    kind, _, rest = actor.partition(":")
    return rest if kind == "console" and rest else " ".join(part for part in (kind, rest) if part) or "-"


def write_csv(lines: Iterable[AuditLine]) -> Iterator[str]:
    yield format_csv_row(COLUMNS)
    for line in lines:
        yield format_csv_row(getattr(line, column) for column in COLUMNS)
