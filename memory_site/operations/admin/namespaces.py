"""Console pages of namespaces and of their clones."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db import connection, transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from kombu.exceptions import OperationalError
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from memories.console_urls import get_user_page_url
from memories.counts import list_top_users
from memories.models import Memory
from memory_site.core.admin.base import MAX_COUNTED_ROWS, BaseAdmin, ReadOnlyAdmin
from memory_site.core.admin.formatting import (
    format_datetime,
    format_number,
    render_progress_bar,
    truncate,
)
from memory_site.core.admin.polling import POLL_TEMPLATE, PollingChangeList
from memory_site.operations.admin.desk.confirmation import name_actor
from memory_site.operations.models import CloneState, NamespaceClone
from memory_site.operations.namespaces.contents import count_contents, list_counted_models
from memory_site.operations.namespaces.names import NamespaceProblem, check_name
from memory_site.operations.namespaces.tasks import is_working, make_clone
from sessions_app.models import ApiKey, Namespace

NAME_MISMATCH = "Nothing was deleted: the name was not typed exactly as shown."
MAX_LISTED_USERS = MAX_LISTED_MEMORIES = 10
# The count of one namespace stops at the cap. A subquery for each row of the list would join them, which no distributed
# table allows.
COUNT_MEMORIES_SQL = f"""
SELECT %s::bigint, count(*)
FROM (SELECT 1 FROM memories_memory WHERE namespace_id = %s LIMIT {MAX_COUNTED_ROWS + 1}) capped
"""


class NamespaceChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Count the memories of the namespaces on this page, in one statement."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        counts = count_memories([namespace.pk for namespace in self.result_list])
        for namespace in self.result_list:
            namespace.memory_count = counts[namespace.pk]


def count_memories(ids: list[int]) -> dict[int, int]:
    """Return the numbers of memories of the namespaces, each at most MAX_COUNTED_ROWS + 1."""
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join([COUNT_MEMORIES_SQL] * len(ids)), [each for pk in ids for each in (pk, pk)])
        return dict(cursor.fetchall())


class CloneForm(BaseDialogForm):
    # Not `name`: the page behind the dialog has a field with this id.
    clone_name = forms.CharField(label="Name of the clone", max_length=255, widget=UnfoldAdminTextInputWidget)

    def clean_clone_name(self) -> str:
        try:
            return check_name(self.cleaned_data["clone_name"])
        except NamespaceProblem as problem:
            raise forms.ValidationError(str(problem)) from None


@admin.register(Namespace)
class NamespaceAdmin(BaseAdmin):
    empty_text = "A namespace holds the memories of one team: manage.py create_api_key makes it with its first key."
    list_display = ("name", "memories", "keys", "nightly_forgetting", "created")
    search_fields = ("name",)
    ordering = ("name",)
    sortable_by = ("name", "created")
    fields = ("name", "forgets_outdated", "embedding", "created")
    readonly_fields = ("embedding", "created")
    actions = None
    actions_detail = ("clone", "wipe_memories", "empty")
    delete_confirmation_template = "admin/sessions_app/namespace/delete_confirmation.html"
    change_form_outer_after_template = "admin/operations/namespace/contents.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        keys = ApiKey.objects.usable().filter(namespace=OuterRef("pk")).values("namespace").annotate(n=Count("pk"))
        return super().get_queryset(request).annotate(key_count=Subquery(keys.values("n")))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NamespaceChangeList]:
        return NamespaceChangeList

    def get_fields(self, request: HttpRequest, obj: Namespace | None = None) -> tuple[str, ...]:
        return self.fields if obj else ("name", "forgets_outdated")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        namespace = self.get_object(request, object_id)
        shown = build_contents_context(namespace) if namespace and self.has_view_permission(request, namespace) else {}
        return super().change_view(request, object_id, form_url, shown | (extra_context or {}))

    @display(description="memories")
    def memories(self, namespace: Namespace) -> SafeString:
        count = namespace.memory_count
        text = format_number(count) if count <= MAX_COUNTED_ROWS else f"{format_number(MAX_COUNTED_ROWS)}+"
        return render_list_link("memories_memory", namespace, text)

    @display(description="active keys")
    def keys(self, namespace: Namespace) -> SafeString:
        return render_list_link("sessions_app_apikey", namespace, namespace.key_count or 0)

    @display(description="forget every night")
    def nightly_forgetting(self, namespace: Namespace) -> str:
        """Return words: the icon of a boolean shows the safe state as a red cross."""
        return "on" if namespace.forgets_outdated else "off"

    @display(description="embedding model", empty_value="none yet")
    def embedding(self, namespace: Namespace) -> str | None:
        return namespace.embedding_model

    @display(description="created", ordering="created_at")
    def created(self, namespace: Namespace) -> SafeString | None:
        return format_datetime(namespace.created_at)

    def has_clone_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("sessions_app.add_namespace")

    def has_wipe_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("memories.delete_memory")

    @action(
        description="Clone",
        icon="content_copy",
        permissions=["clone"],
        dialog={
            "title": "Clone this namespace?",
            "description": "A worker copies all rows and vectors under another name, completely or not at all. The "
            "clone has no API keys.",
            "form_class": CloneForm,
            "form_submit_text": "Clone",
        },
    )
    def clone(self, request: HttpRequest, form: CloneForm, object_id: str) -> HttpResponse:
        namespace = self.get_object(request, object_id)
        if namespace is not None:
            request_clone(request, namespace, form.cleaned_data["clone_name"])
        return HttpResponse(headers={"HX-Redirect": reverse("admin:operations_namespaceclone_changelist")})

    @action(description="Wipe memories", icon="delete_sweep", permissions=["wipe"])
    def wipe_memories(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect_to_wipe("memories", object_id)

    @action(description="Empty, keep keys", icon="delete_forever", variant=ActionVariant.DANGER, permissions=["delete"])
    def empty(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect_to_wipe("everything", object_id)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Delete only when the name of the namespace was typed."""
        namespace = self.get_object(request, object_id)
        if namespace and request.method == "POST" and request.POST.get("name") != namespace.name:
            messages.error(request, NAME_MISMATCH)
            return HttpResponseRedirect(request.path)
        return super().delete_view(request, object_id, extra_context)

    def get_deleted_objects(self, objs: list[Namespace], request: HttpRequest) -> tuple:
        """Return exact counts of the rows that the database deletes by its own cascade, with the keys."""
        counts: dict[str, int] = {}
        for namespace in objs:
            for kind, number in count_contents(namespace.pk).items():
                counts[kind] = counts.get(kind, 0) + number
        return [str(namespace) for namespace in objs], counts, set(), []

    def delete_model(self, request: HttpRequest, obj: Namespace) -> None:
        """Delete without the usual statement timeout, which would stop the deletion of a large namespace."""
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
        obj.delete()


def redirect_to_wipe(what: str, object_id: str) -> HttpResponse:
    query = urlencode({"what": what, "namespace": object_id})
    return HttpResponseRedirect(f"{reverse('admin:operations_desk_wipe')}?{query}")


def request_clone(request: HttpRequest, namespace: Namespace, name: str) -> None:
    """Have a worker clone the namespace, and tell whether one was asked."""
    clone = NamespaceClone.objects.create(
        source_id=namespace.pk, source_name=namespace.name, name=name, requested_by=name_actor(request)
    )
    send(request, clone)


def send(request: HttpRequest, clone: NamespaceClone) -> None:
    try:
        make_clone.apply_async((str(clone.pk),), retry=False)
    except OperationalError:
        messages.error(request, "Nothing was begun: the broker does not answer. Clone it again later.")
    else:
        messages.success(request, f"A worker makes {clone.name}; this page shows the progress.")


def render_list_link(model: str, namespace: Namespace, text: object) -> SafeString:
    """Return a link to the list of a model in one namespace."""
    address = reverse(f"admin:{model}_changelist")
    return format_html('<a href="{}?namespace={}" class="underline">{}</a>', address, namespace.pk, text)


def build_contents_context(namespace: Namespace) -> dict[str, Any]:
    """Return what the page shows below the form: figures, keys, the largest users and the newest memories."""
    return {
        "namespace": namespace,
        "figures": list_figures(namespace),
        "keys": ApiKey.objects.filter(namespace=namespace).order_by("-last_used_at", "-created_at")[:MAX_LISTED_USERS],
        "users": list_users(namespace),
        "newest": list_newest(namespace),
    }


#: Models with a list of their own that filters by namespace.
LISTED_MODELS = (
    "memories.memory", "graph.relationship", "insights.insight", "knowledge.cluster", "knowledge.pattern",
    "knowledge.preference", "ingestion.document", "ingestion.ingestion", "ingestion.workflowexecution",
    "sessions_app.sessionmemory", "sessions_app.conversation", "sessions_app.apikey",
)  # fmt: skip


ALWAYS_SHOWN = ("memories.memory", "sessions_app.apikey")


def list_figures(namespace: Namespace) -> list[tuple[str, str, str]]:
    """Return name, number and address of the rows behind it, of each kind with rows. Counting stops at the cap."""
    figures = []
    for model in list_counted_models():
        label = model._meta.label_lower
        if label in LISTED_MODELS:
            rows = model._base_manager.filter(namespace=namespace.pk).order_by().values("pk")
            number = rows[: MAX_COUNTED_ROWS + 1].count()
            shown = format_number(number) if number <= MAX_COUNTED_ROWS else f"{format_number(MAX_COUNTED_ROWS)}+"
            address = reverse(f"admin:{label.replace('.', '_')}_changelist")
            if not number and label not in ALWAYS_SHOWN:
                continue
            figures.append((str(model._meta.verbose_name_plural), shown, f"{address}?namespace={namespace.pk}"))
    return figures


def list_users(namespace: Namespace) -> list[tuple[str, str, str]]:
    return [
        (truncate(user.user_id, 60), format_number(user.memories), get_user_page_url(namespace.pk, user.user_id))
        for user in list_top_users(namespace.pk, MAX_LISTED_USERS)
    ]


def list_newest(namespace: Namespace) -> list[tuple[str, str, SafeString | None]]:
    rows = Memory.objects.in_namespace(namespace.pk).newest_first().only("pk", "content", "created_at", "namespace_id")
    return [
        (
            reverse("admin:memories_memory_change", args=[memory.pk]),
            truncate(memory.content[:300], 100),
            format_datetime(memory.created_at),
        )
        for memory in rows[:MAX_LISTED_MEMORIES]
    ]


class CloneList(PollingChangeList):
    def is_open(self, row: NamespaceClone) -> bool:
        return row.state == CloneState.RUNNING


@admin.register(NamespaceClone)
class NamespaceCloneAdmin(ReadOnlyAdmin):
    empty_text = "A clone appears here when it is asked for on the page of a namespace."
    list_display = ("name", "source_name", "state_shown", "progress", "requested_by", "created", "finished")
    list_display_links = None
    list_before_template = POLL_TEMPLATE
    actions = ("make_again",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CloneList]:
        return CloneList

    def has_make_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("sessions_app.add_namespace")

    @admin.action(description="Make it again", permissions=("make",))
    def make_again(self, request: HttpRequest, queryset: QuerySet[NamespaceClone]) -> None:
        for clone in queryset.exclude(state=CloneState.FINISHED):
            transaction.on_commit(lambda clone=clone: send(request, clone))

    @display(
        description="state", label={"finished": "success", "failed": "danger", "waiting": "warning", "running": "info"}
    )
    def state_shown(self, clone: NamespaceClone) -> str:
        if clone.state != CloneState.RUNNING:
            return clone.state
        return "running" if is_working(clone) else "waiting"

    @display(description="progress")
    def progress(self, clone: NamespaceClone) -> SafeString | str:
        if clone.error:
            return clone.error
        words = f"{format_number(clone.rows_done)} of {format_number(clone.rows_total)} rows"
        if clone.state == CloneState.FINISHED:
            return f"{format_number(clone.rows_done)} rows"
        return render_progress_bar(words, "in_progress", 100 * clone.rows_done // max(clone.rows_total, 1))

    @display(description="asked for")
    def created(self, clone: NamespaceClone) -> SafeString | None:
        return format_datetime(clone.created_at)

    @display(description="finished", empty_value="-")
    def finished(self, clone: NamespaceClone) -> SafeString | None:
        return format_datetime(clone.finished_at)
