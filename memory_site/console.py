"""What the pages of the admin console share: lists that stay fast on large tables, the side bar, readable JSON."""

import json
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ObjectDoesNotExist
from django.core.paginator import Paginator
from django.db import IntegrityError, connections
from django.db.models import AutoField, Field, QuerySet
from django.forms import Field as FormField
from django.forms import ModelChoiceField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers.data import JsonLexer
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

#: Rows are counted, and can be paged through, up to here: 0.7 ms, where counting a million takes 30 ms and more.
COUNTED_AT_MOST = 10_000
#: The planner's own idea of how many rows a table has, kept by ANALYZE.
ESTIMATE = "SELECT reltuples FROM pg_class WHERE oid = %s::regclass"
#: Narrow and unbreakable, between groups of three digits.
THIN_SPACE = "\u202f"
LARGEST_NUMBER = 2**63 - 1
CHANGED_ELSEWHERE = "Somebody else was faster: this could not be kept. Please look again."
PROGRESS = (
    '<span class="ingestion-progress"><span class="whitespace-nowrap">{}</span>'
    '<span class="ingestion-bar ingestion-{}"><span style="width: {}%"></span></span></span>'
)
TWO_LINES = '<span class="memory-beginning" title="{}">{}</span>'
STYLES = {"light": "default", "dark": "github-dark"}


def containing(text: str) -> str:
    """A pattern for LIKE that finds the text wherever it stands."""
    return "%" + text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"


def grouped(number: int) -> str:
    """12345 as people read it: 12 345."""
    return f"{number:,}".replace(",", THIN_SPACE)


def shortened(text: str, length: int) -> str:
    """The beginning of a text on one line, at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def moment(value: datetime | None) -> SafeString | None:
    """A moment to the minute, to the second under the pointer. In a narrow column its date and time stand apart."""
    if value is None:
        return None
    parts = format_html_join(
        " ", '<span class="whitespace-nowrap">{}</span>', ((f"{value:%Y-%m-%d}",), (f"{value:%H:%M}",))
    )
    return format_html('<span title="{}">{}</span>', f"{value:%Y-%m-%d %H:%M:%S %Z}", parts)


def two_lines(text: str, whole: str | None = None) -> SafeString:
    """A text of which two lines are shown at most; all of it, or `whole`, under the pointer."""
    return format_html(TWO_LINES, text if whole is None else whole, text)


def progress_bar(words: str, state: str, percent: int) -> SafeString:
    """How far something is, in words above a bar: in_progress, completed and failed have colours of their own."""
    return format_html(PROGRESS, words, state, percent)


class CappedPaginator(Paginator):
    """Pages of at most COUNTED_AT_MOST rows, so that neither counting nor skipping ever reads a large table."""

    template_name = "admin/capped_pagination.html"
    #: Whether the rows are the whole table, whose size the database can estimate.
    whole = False

    @cached_property
    def counted(self) -> int:
        return self.object_list.order_by().values("pk")[: COUNTED_AT_MOST + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self.counted, COUNTED_AT_MOST)

    @property
    def described(self) -> str:
        """How many rows there are: exactly, by estimate, or only that there are more than were counted."""
        if self.counted <= COUNTED_AT_MOST:
            return grouped(self.counted)
        return f"about {grouped(self._estimated())}" if self.whole else f"{grouped(COUNTED_AT_MOST)}+"

    def _estimated(self) -> int:
        with connections[self.object_list.db].cursor() as cursor:
            cursor.execute(ESTIMATE, [self.object_list.model._meta.db_table])
            rows = max(int(cursor.fetchone()[0]), self.counted)
        return round(rows, 3 - len(str(rows)))


class ConsoleList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """The page's head would tell a number of results, and a capped one is not theirs: its foot tells it right."""
        super().get_results(request)
        self.full_result_count = self.result_count


class Unnamed:
    """A row that goes by its id alone."""

    def __init__(self, obj: Any) -> None:
        self.pk, self._meta = obj.pk, obj._meta

    def __str__(self) -> str:
        return str(self.pk)


class NumberedChoice(ModelChoiceField):
    def prepare_value(self, value: Any) -> Any:
        """What can be shown: its widget asks the database for the name, which refuses what is no number of a row."""
        value = super().prepare_value(value)
        text = "" if value is None else str(value)
        return value if text.isascii() and text.isdigit() and int(text[:20]) <= LARGEST_NUMBER else None


class ConsoleAdmin(ModelAdmin):
    """A model of any size: nothing on its pages reads the whole table."""

    #: Whether a row's text is what somebody said or is.
    tells_of_people = False
    list_per_page = 50
    list_filter_submit = True
    list_disable_select_all = True
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    compressed_fields = True
    warn_unsaved_form = True
    paginator = CappedPaginator

    def formfield_for_foreignkey(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> FormField:
        if isinstance(db_field.target_field, AutoField):
            kwargs["form_class"] = NumberedChoice
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (IntegrityError, ObjectDoesNotExist):  # between the form's check and the writing
            messages.error(request, CHANGED_ELSEWHERE)
            return HttpResponseRedirect(request.get_full_path())

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ConsoleList

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        return super().log_addition(request, self.noted(obj), message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        return super().log_change(request, self.noted(obj), message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return super().log_deletions(request, [self.noted(obj) for obj in queryset])

    def noted(self, obj: Any) -> Any:
        """What the console's log calls a row. It outlives the row, so what people said does not belong there."""
        return Unnamed(obj) if self.tells_of_people else obj

    def get_paginator(self, request: HttpRequest, queryset: QuerySet, *args: Any, **kwargs: Any) -> Paginator:
        paginator = super().get_paginator(request, queryset, *args, **kwargs)
        paginator.whole = queryset.query.where == self.get_queryset(request).query.where
        return paginator


class ReadAdmin(ConsoleAdmin):
    """Rows that are made elsewhere, and only looked at here."""

    sortable_by = ()
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def pretty_json(value: Any) -> SafeString:
    """The value indented and coloured, once for each theme; the style sheet shows the right one."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return mark_safe("".join(f'<div class="json-{theme}">{coloured(text, STYLES[theme])}</div>' for theme in STYLES))


def coloured(text: str, style: str) -> str:
    """HTML with the text escaped."""
    return highlight(text, JsonLexer(), HtmlFormatter(style=style, noclasses=True, nobackground=True))


def environment(_: HttpRequest) -> tuple[str, str]:
    """The badge in every page's corner: its text and its colour."""
    return ("Embedded", "info") if settings.EMBEDDED else ("Production", "danger")


def favicon(_: HttpRequest) -> str:
    return static("memory_site/favicon.svg")


def style_sheet(_: HttpRequest) -> str:
    return static("memory_site/console.css")


# Group, then: title, symbol, the model's admin address and the permission to see it.
SIDE_BAR = {
    "Memory": [
        ("Memories", "neurology", "memories_memory", "memories.view_memory"),
        ("Users’ memory", "hub", "graph_usertotal", "memories.view_memory"),
        ("Relationships", "conversion_path", "graph_relationship", "graph.view_relationship"),
    ],
    "Learned": [
        ("Insights", "lightbulb", "insights_insight", "insights.view_insight"),
        ("Insights at a glance", "bar_chart", "insights_insightglance", "insights.view_insight"),
        ("Clusters", "bubble_chart", "knowledge_cluster", "knowledge.view_cluster"),
        ("Patterns", "repeat", "knowledge_pattern", "knowledge.view_pattern"),
        ("Preferences", "tune", "knowledge_preference", "knowledge.view_preference"),
        ("Project groups", "workspaces", "insights_projectgroup", "insights.view_projectgroup"),
        ("Project dependencies", "lan", "insights_projectdependency", "insights.view_projectdependency"),
    ],
    "Knowledge": [
        ("Ingestions", "folder_data", "ingestion_ingestion", "ingestion.view_ingestion"),
        ("Documents", "description", "ingestion_document", "ingestion.view_document"),
        ("Workflow runs", "account_tree", "ingestion_workflowexecution", "ingestion.view_workflowexecution"),
        ("Workflow report", "summarize", "ingestion_workflowreport", "ingestion.view_workflowexecution"),
    ],
    "Conversation": [
        ("Sessions", "chat", "sessions_app_sessionmemory", "sessions_app.view_sessionmemory"),
        ("Conversations", "forum", "sessions_app_conversation", "sessions_app.view_conversation"),
        ("Session links", "link", "sessions_app_sessionlink", "sessions_app.view_sessionlink"),
        ("Session statistics", "monitoring", "sessions_app_sessionstatistics", "sessions_app.view_sessionmemory"),
    ],
    "Access": [
        ("Namespaces", "folder_special", "sessions_app_namespace", "sessions_app.view_namespace"),
        ("API keys", "key", "sessions_app_apikey", "sessions_app.view_apikey"),
        ("Users", "person", "auth_user", "auth.view_user"),
        ("Groups", "group", "auth_group", "auth.view_group"),
    ],
    "Background work": [
        ("Erasures", "auto_delete", "graph_erasure", "graph.view_erasure"),
        ("Embedding anew", "change_circle", "memories_reembedding", "memories.view_reembedding"),
        (
            "Scheduled tasks",
            "event_repeat",
            "django_celery_beat_periodictask",
            "django_celery_beat.view_periodictask",
        ),
        (
            "Intervals",
            "timer",
            "django_celery_beat_intervalschedule",
            "django_celery_beat.view_intervalschedule",
        ),
        (
            "Crontabs",
            "calendar_clock",
            "django_celery_beat_crontabschedule",
            "django_celery_beat.view_crontabschedule",
        ),
        ("Signs of life", "ecg_heart", "operations_heartbeat", "operations.view_heartbeat"),
    ],
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The side bar, without what this user may not see."""
    home = {"title": "Overview", "icon": "home", "link": reverse("admin:index")}
    docs = {"title": "API documentation", "icon": "menu_book", "link": reverse("api:openapi-view")}
    groups = [{"title": title, "items": list(allowed(request, items))} for title, items in SIDE_BAR.items()]
    return [{"items": [home]}, *groups, {"separator": True, "items": [docs]}]


def allowed(request: HttpRequest, items: list[tuple[str, str, str, str]]) -> Iterator[dict[str, str]]:
    for title, icon, model, permission in items:
        if request.user.has_perm(permission):
            # By its name: the address of one page may be the beginning of another's.
            active = (request.resolver_match.url_name or "").startswith(f"{model}_")
            yield {"title": title, "icon": icon, "link": reverse(f"admin:{model}_changelist"), "active": active}
