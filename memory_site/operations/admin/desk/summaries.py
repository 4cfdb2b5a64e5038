"""Summaries that a regular expression matches."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db import DataError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from memories.console_urls import get_memory_url
from memories.models import Memory
from memory_site.core.admin.formatting import format_datetime, truncate
from memory_site.core.db.timeouts import limit_statements
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

MAX_ROWS, MAX_PATTERN_LENGTH, MAX_SHOWN_LENGTH = 100, 1_000, 200
#: Every summary may have to be read; a request is given up before it keeps others waiting.
MAX_SECONDS = 5
LINK_HTML = '<a href="{}" class="underline">{}</a>'


class PatternForm(forms.Form):
    pattern = forms.CharField(
        label="Regular expression, in any case",
        required=False,
        max_length=MAX_PATTERN_LENGTH,
        widget=UnfoldAdminTextInputWidget,
    )


def show_summaries(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Show the newest summaries that match; those of documents, which are their names, are left out."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace, pattern = get_selected_namespace(request), request.GET.get("pattern", "")
    namespace_form = build_namespace_form(request, model_admin, namespace)
    rows, problem = find_rows(namespace, pattern)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Summaries by pattern",
        "filter_forms": [namespace_form, PatternForm({"pattern": pattern.replace("\0", "")})],
        "media": forms.Media(namespace_form.Media),
        "table": {"headers": ["summary", "type", "user", "created"], "rows": rows},
        "problem": problem,
        "is_full": len(rows) == MAX_ROWS,
        "max_rows": MAX_ROWS,
    }
    return TemplateResponse(request, "admin/operations/desk/summaries.html", context)


def find_rows(namespace: Namespace | None, pattern: str) -> tuple[list[list[Any]], str]:
    """Return the rows of the table, and why there are none if the pattern cannot be used."""
    if "\0" in pattern or len(pattern) > MAX_PATTERN_LENGTH:
        return [], f"A pattern has at most {MAX_PATTERN_LENGTH:,} characters, and no NUL."
    memories = Memory.objects.alive() if namespace is None else Memory.objects.in_namespace(namespace.pk)
    memories = memories.filter(document_id=None, summary__iregex=pattern).newest_first()
    columns = ("pk", "summary", "memory_type", "user_id", "created_at")
    try:
        with limit_statements(MAX_SECONDS):
            return [build_row(memory) for memory in memories.only(*columns)[:MAX_ROWS]], ""
    except DataError as error:
        return (
            [],
            f"Not a regular expression: {str(error).splitlines()[0].removeprefix('invalid regular expression: ')}.",
        )
    except OperationalError:
        return [], "This pattern takes too long: choose a namespace, or begin it with ^ and a word."


def build_row(memory: Memory) -> list[Any]:
    return [
        format_html(LINK_HTML, get_memory_url(memory), truncate(memory.summary or "", MAX_SHOWN_LENGTH)),
        memory.memory_type.replace("_", " "),
        truncate(memory.user_id or "-", 60),
        format_datetime(memory.created_at),
    ]
