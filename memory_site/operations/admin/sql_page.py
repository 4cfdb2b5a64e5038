"""The console's page of read-only SQL, and the log of what was run there."""

from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime, format_duration, format_number, render_two_lines
from memory_site.core.csv_rows import format_csv_row
from memory_site.operations.models import SqlStatement
from memory_site.operations.sql_page.log import run_logged
from memory_site.operations.sql_page.role import TIMEOUT_SECONDS, describe_setup
from memory_site.operations.sql_page.run import MAX_CSV_ROWS, MAX_ROWS, MAX_STATEMENT_LENGTH, Result, SqlProblem

RUN_SQL = "operations.run_sql"
CSV_TYPE = "text/csv; charset=utf-8"
NULL_HTML = format_html('<span class="memory-link-name">{}</span>', "NULL")
EXAMPLES = {
    "Memories by day": "SELECT created_at::date AS day, count(*) AS memories\nFROM memories_memory\n"
    "WHERE created_at > now() - interval '30 days'\nGROUP BY day ORDER BY day DESC",
    "Largest users": "SELECT namespace_id, user_id, sum(memories) AS memories\nFROM graph_usertotal\n"
    "GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20",
    "Texts that wait longest": "SELECT memory_id, queued_at, attempts, error\nFROM memories_dueembedding\n"
    "ORDER BY queued_at LIMIT 20",
    "Keys and their last use": "SELECT n.name AS namespace, k.name, k.scopes, k.last_used_at\n"
    "FROM sessions_app_apikey k JOIN sessions_app_namespace n ON n.id = k.namespace_id\n"
    "ORDER BY k.last_used_at DESC NULLS LAST",
}


class StatementForm(forms.Form):
    statement = forms.CharField(
        label="One statement that returns rows",
        max_length=MAX_STATEMENT_LENGTH,
        strip=False,
        required=False,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 8, "spellcheck": "false", "class": "sql-text", "autofocus": True}
        ),
    )


@admin.register(SqlStatement)
class SqlStatementAdmin(ReadOnlyAdmin):
    empty_text = "A statement appears here when it is run on the SQL page."
    list_display = ("at", "username", "text", "outcome", "row_count", "duration")
    list_display_links = ("text",)
    search_fields = ("username", "statement")
    ordering = ("-created_at", "-id")
    fields = (("at", "username"), ("outcome", "row_count", "duration"), "statement", "error", "again")
    readonly_fields = ("at", "outcome", "row_count", "duration", "again")

    def get_urls(self) -> list[URLPattern]:
        """Put the page above the log, whose rows have ids in the same place."""
        page = path("run/", self.admin_site.admin_view(self.page_view), name="operations_sqlstatement_page")
        return [page, *super().get_urls()]

    def page_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show the form, and run what it is sent with."""
        if not request.user.has_perm(RUN_SQL):
            raise PermissionDenied
        form = StatementForm(request.POST if request.method == "POST" else {"statement": find_statement(request)})
        wants_csv = request.POST.get("format") == "csv"
        result, problem = None, ""
        if settings.SQL_PAGE and request.method == "POST":
            result, problem = run(request, form, MAX_CSV_ROWS if wants_csv else MAX_ROWS)
        if result is not None and wants_csv:
            return build_csv(result)
        context = {
            **self.admin_site.each_context(request),
            "title": "SQL",
            "is_on": settings.SQL_PAGE,
            "is_embedded": settings.EMBEDDED,
            "setup": ";\n".join(describe_setup()),
            "form": form,
            "problem": problem,
            "result": result and build_result_context(result),
            "examples": list(EXAMPLES),
            "seconds": TIMEOUT_SECONDS,
            "max_rows": format_number(MAX_ROWS),
            "max_csv_rows": format_number(MAX_CSV_ROWS),
            "log_url": request.user.has_perm("operations.view_sqlstatement")
            and reverse("admin:operations_sqlstatement_changelist"),
        }
        return TemplateResponse(request, "admin/operations/sqlstatement/page.html", context)

    @display(description="run", ordering="created_at")
    def at(self, entry: SqlStatement) -> SafeString | None:
        return format_datetime(entry.created_at)

    @display(description="statement")
    def text(self, entry: SqlStatement) -> SafeString:
        return render_two_lines(" ".join(entry.statement.split())[:300], entry.statement[:1000])

    @display(description="outcome", label={"rows": "success", "failed": "danger", "unfinished": "warning"})
    def outcome(self, entry: SqlStatement) -> str:
        if entry.error:
            return "failed"
        return "unfinished" if entry.rows is None else "rows"

    @display(description="rows", empty_value="-")
    def row_count(self, entry: SqlStatement) -> str | None:
        return None if entry.rows is None else f"{format_number(entry.rows)}{'+' if entry.is_cut else ''}"

    @display(description="took", empty_value="-")
    def duration(self, entry: SqlStatement) -> str | None:
        if entry.seconds is None:
            return None
        return format_duration(entry.seconds) if entry.seconds >= 1 else f"{entry.seconds * 1000:.0f} ms"

    @display(description="again")
    def again(self, entry: SqlStatement) -> SafeString:
        address = f"{reverse('admin:operations_sqlstatement_page')}?again={entry.pk}"
        return format_html('<a href="{}" class="underline">Open it on the SQL page</a>', address)


def find_statement(request: HttpRequest) -> str:
    """Return the text of the form: an example, an earlier statement, or nothing."""
    if example := EXAMPLES.get(request.GET.get("example", "")):
        return example
    try:
        earlier = SqlStatement.objects.filter(pk=UUID(request.GET.get("again", ""))).first()
    except ValueError:
        return ""
    return earlier.statement if earlier and request.user.has_perm("operations.view_sqlstatement") else ""


def run(request: HttpRequest, form: StatementForm, max_rows: int) -> tuple[Result | None, str]:
    """Run the form's statement. Return its rows, or the reason why there are none."""
    if not form.is_valid():
        return None, "; ".join(form.errors["statement"])
    try:
        return run_logged(form.cleaned_data["statement"], request.user.get_username(), max_rows), ""
    except SqlProblem as problem:
        return None, str(problem)


def build_result_context(result: Result) -> dict[str, Any]:
    rows = [[NULL_HTML if cell is None else cell for cell in row] for row in result.rows]
    return {
        "table": {"headers": result.columns, "rows": rows},
        "count": f"{format_number(len(rows))}{' and more' if result.is_cut else ''}",
        "milliseconds": f"{result.seconds * 1000:.0f}",
    }


def build_csv(result: Result) -> StreamingHttpResponse:
    response = StreamingHttpResponse(map(format_csv_row, [result.columns, *result.rows]), content_type=CSV_TYPE)
    response["Content-Disposition"] = 'attachment; filename="result.csv"'
    response["X-Rows-Cut"] = "true" if result.is_cut else "false"
    return response
