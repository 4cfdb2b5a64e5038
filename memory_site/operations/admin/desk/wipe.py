"""Wipe memories, or everything, of one namespace or of all."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin

from memories.graph.tasks import statistics_trigger
from memories.jobs.create import create_job
from memories.models import Memory
from memories.search.list_filters import ListFilters
from memories.search.selection import Selection
from memories.states import EVERY_STATE
from memories.users.erasure import collect_namespace_rows, count_rows, erase_namespace
from memory_site.core.admin.formatting import format_number
from memory_site.operations.admin.desk.confirmation import Plan, is_confirmed, name_actor, require
from memory_site.operations.namespaces.contents import INTERNAL_MODELS
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

MEMORIES, EVERYTHING = "memories", "everything"
PERMISSIONS = {MEMORIES: "memories.delete_memory", EVERYTHING: "sessions_app.delete_namespace"}
ALL_NAMESPACES = "all namespaces"
EXPLANATIONS = {
    MEMORIES: "A worker deletes them, batch by batch; the trash keeps them for a while. Conversations, sessions and "
    "documents stay.",
    EVERYTHING: "Memories, conversations, sessions, documents, insights and all else go, without trash and without "
    "history. Namespaces and their API keys stay, so that agents can go on.",
}


def show_wipe(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Show what would be deleted, and delete it when that is confirmed."""
    what = EVERYTHING if request.GET.get("what") == EVERYTHING else MEMORIES
    require(request, PERMISSIONS[what])
    namespace = get_selected_namespace(request)
    namespaces = [namespace] if namespace else list(Namespace.objects.order_by("name"))
    plan = build_plan(what, namespaces, namespace.name if namespace else ALL_NAMESPACES)
    if plan.total and is_confirmed(request, plan):
        return wipe(request, what, namespaces)
    form = build_namespace_form(request, model_admin, namespace)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Wipe everything" if what == EVERYTHING else "Wipe memories",
        "what": what,
        "explanation": EXPLANATIONS[what],
        "namespace": namespace,
        "namespace_form": form,
        "media": forms.Media(form.Media),
        **plan.context,
    }
    return TemplateResponse(request, "admin/operations/desk/wipe.html", context)


def build_plan(what: str, namespaces: list[Namespace], word: str) -> Plan:
    counts: dict[str, int] = {}
    for namespace in namespaces:
        rows = list_everything(namespace) if what == EVERYTHING else list_memories(namespace)
        for kind, number in count_rows(rows).items():
            name = kind.replace("_", " ") if len(namespaces) == 1 else f"{kind.replace('_', ' ')} in {namespace.name}"
            counts[name] = number
    return Plan(counts, word)


def list_everything(namespace: Namespace) -> dict[str, Any]:
    """Return what goes, without what no operator knows: rows that are part of others or made from them."""
    rows = collect_namespace_rows(namespace.pk)
    return {kind: each for kind, each in rows.items() if each.model._meta.label_lower not in INTERNAL_MODELS}


def list_memories(namespace: Namespace) -> dict[str, Any]:
    return {"memories": Memory.objects.in_namespace(namespace.pk, EVERY_STATE)}


def wipe(request: HttpRequest, what: str, namespaces: list[Namespace]) -> HttpResponse:
    for namespace in namespaces:
        log_wipe(request, what, namespace)
        if what == EVERYTHING:
            erase_namespace(namespace.pk)
        elif Memory.objects.in_namespace(namespace.pk, EVERY_STATE).exists():
            selection = Selection(namespace.pk, ListFilters(states=list(EVERY_STATE)))
            with transaction.atomic():
                create_job(namespace.pk, "delete", {}, selection, name_actor(request))
    if what == EVERYTHING:
        statistics_trigger.notify_on_commit()
        messages.success(request, f"{format_number(len(namespaces))} namespaces are empty; their API keys are left.")
        return HttpResponseRedirect(reverse("admin:sessions_app_namespace_changelist"))
    messages.success(request, "A worker deletes the memories; this list shows how far it is.")
    return HttpResponseRedirect(reverse("admin:jobs_job_changelist"))


def log_wipe(request: HttpRequest, what: str, namespace: Namespace) -> None:
    message = "Emptied; its API keys stay." if what == EVERYTHING else "All memories deleted."
    LogEntry.objects.log_actions(request.user.pk, [namespace], CHANGE, message, single_object=True)
