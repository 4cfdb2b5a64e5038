"""Erase everything of a user, and export it as JSON Lines."""

import tempfile
from contextlib import closing
from typing import Any

from django import forms
from django.contrib import messages
from django.db import connection, transaction
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import slugify
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from ingestion.transfer.exporter import UnexportableRow, export_namespace
from memories.graph.tasks import statistics_trigger
from memories.users import erasure
from memory_site.core.admin.formatting import format_number, truncate
from memory_site.operations.admin.desk.confirmation import Plan, is_confirmed, name_actor, require
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

ERASE, SEE = "memories.delete_memory", "memories.view_memory"
EXPLANATION = (
    "Everything of this user goes, without trash and without history, and from backups that are restored later. A line "
    "of the audit remains that does not name the user. It cannot be undone."
)
MAX_USER_ID_LENGTH, MEMORY_BYTES = 255, 5_000_000


class UserForm(forms.Form):
    user = forms.CharField(label="User id, exactly", required=False, widget=UnfoldAdminTextInputWidget)


def read_user(request: HttpRequest) -> tuple[Namespace | None, str]:
    """Return the namespace and the user of the address. What no row can hold is no user."""
    user_id = request.GET.get("user", "")
    return get_selected_namespace(request), user_id.replace("\0", "")[: MAX_USER_ID_LENGTH + 1]


def show_erasure(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Show what would be erased of a user, and erase it when that is confirmed."""
    require(request, ERASE)
    namespace, user_id = read_user(request)
    namespace = namespace or find_only_namespace()
    plan = Plan(count_user_rows(namespace, user_id), user_id)
    if namespace and user_id and plan.total and is_confirmed(request, plan):
        return erase_user(request, namespace, user_id)
    form = build_namespace_form(request, model_admin, namespace)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Erase {truncate(user_id, 80)}" if user_id else "Delete one user’s data",
        "filter_forms": [form, UserForm({"user": user_id})],
        "media": forms.Media(form.Media),
        "user_id": user_id,
        "namespace": namespace,
        "export_url": namespace and user_id and get_export_url(namespace.pk, user_id),
        "explanation": EXPLANATION,
        **plan.context,
    }
    return TemplateResponse(request, "admin/operations/desk/erase.html", context)


def find_only_namespace() -> Namespace | None:
    """Return the namespace if there is one only."""
    found = list(Namespace.objects.all()[:2])
    return found[0] if len(found) == 1 else None


def count_user_rows(namespace: Namespace | None, user_id: str) -> dict[str, int]:
    if namespace is None or not user_id:
        return {}
    counts = erasure.count_user_rows(namespace.pk, user_id)
    return {kind.replace("_", " "): number for kind, number in counts.items()}


def erase_user(request: HttpRequest, namespace: Namespace, user_id: str) -> HttpResponse:
    erased = erasure.erase(namespace.pk, user_id, requested_by=name_actor(request))
    statistics_trigger.notify_on_commit()
    messages.success(request, f"The user is erased: {format_number(sum(erased.values()))} rows are gone.")
    return HttpResponseRedirect(reverse("admin:graph_erasure_changelist"))


def get_export_url(namespace_id: int, user_id: str) -> str:
    return f"{reverse('admin:operations_desk_export')}?{urlencode({'namespace': namespace_id, 'user': user_id})}"


def export_user(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponseBase:
    """Return a user's rows as a file, which `import_memories` reads. It is complete before it is sent."""
    require(request, SEE)
    namespace, user_id = read_user(request)
    if namespace is None or not user_id:
        messages.warning(request, "Choose the namespace and the user to export.")
        return HttpResponseRedirect(reverse("admin:graph_usertotal_changelist"))
    try:
        file = write_export(namespace, user_id)
    except UnexportableRow as error:
        messages.error(request, f"{error} Nothing was exported.")
        return HttpResponseRedirect(reverse("admin:graph_usertotal_changelist"))
    name = f"{slugify(user_id) or 'user'}.jsonl"
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/jsonl")


def write_export(namespace: Namespace, user_id: str) -> Any:
    """Return a file with the lines, at its beginning; in memory while it is small. Raises UnexportableRow."""
    file = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  (the response closes it)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
        with closing(export_namespace(namespace, user_id)) as lines:
            file.writelines(lines)
    file.seek(0)
    return file
