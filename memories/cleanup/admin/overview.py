"""The page "Clean-up": a card for each assistant with how many memories it finds, and what can be done with them."""

from collections.abc import Iterable
from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin

from memories.cleanup.assistants import (
    ASSISTANTS,
    MAX_COUNTED,
    Assistant,
    UnusedRule,
    count,
    count_not_inspected,
)
from memories.jobs.admin.plan import build_plan_url, is_permitted
from memories.jobs.create import create_job
from memories.jobs.models import Job
from memories.memory_types import Importance
from memories.search.list_filters import ListFilters
from memories.search.selection import REFUSED, Selection
from memories.states import EVERY_STATE
from memory_site.core.admin.formatting import format_datetime, format_number
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

CHANGE = "memories.change_memory"
STARTED = "A worker looks at the memories that are new or have changed: {}."
IN_PROGRESS = "A worker is at it already."
#: The order of the cards, by what an operator asks first.
INSPECTED = ("duplicate", "secret", "short", "long")


@dataclass(frozen=True)
class Card:
    """`figure` is a link to the rows; `action` a button and its address."""

    title: str
    explanation: str
    figure: str
    url: str
    has_rows: bool
    action: str = ""
    action_url: str = ""


class UnusedForm(forms.Form):
    """The rule of unused memories, in the address of the page."""

    days = forms.IntegerField(min_value=1, max_value=36_500, initial=90, label="Days without use")
    max_importance = forms.TypedChoiceField(
        coerce=int,
        choices=[(level.value, f"{level.value} {level.name}") for level in Importance],
        initial=Importance.LOW.value,
        label="Importance at most",
    )
    min_uses = forms.IntegerField(min_value=0, max_value=1_000_000, initial=3, label="Used less often than")

    def read_rule(self) -> UnusedRule:
        return UnusedRule(**self.cleaned_data) if self.is_valid() else UnusedRule()


def overview_view(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    if not request.user.has_perm("memories.view_memory"):
        raise PermissionDenied
    namespace = get_selected_namespace(request)
    namespace_form = build_namespace_form(request, model_admin, namespace)
    form = make_unused_form(request)
    rule = form.read_rule()
    namespace_id = namespace and namespace.pk
    latest = find_latest_look(namespace_id)
    waiting = count_not_inspected(namespace_id)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Clean-up",
        "namespace_form": namespace_form,
        "media": forms.Media(namespace_form.Media),
        "chosen": namespace,
        "groups": [
            (title, [make_card(request, name, namespace_id, rule) for name in names]) for title, names in GROUPS
        ],
        "unused_form": form,
        "unused_card": make_cards(request, ["unused"], namespace_id, rule)[0],
        "may_look": is_permitted(request.user, CHANGE),
        "looked_at": latest and format_datetime(latest.finished_at or latest.created_at),
        "is_looking": latest is not None and latest.is_open,
        "look_url": reverse("admin:jobs_job_change", args=[latest.pk]) if latest else "",
        "waiting": describe_number(waiting),
        "has_waiting": waiting != 0,
    }
    return TemplateResponse(request, "admin/cleanup/overview.html", context)


GROUPS = (
    ("Texts", INSPECTED),
    ("Replaced and lost", ("superseded", "lost_successor", "lost_chunk", "lost_insight", "refused")),
)


def make_unused_form(request: HttpRequest) -> UnusedForm:
    """Return the form with what the address says of it, or with the usual rule."""
    initial = {name: field.initial for name, field in UnusedForm.base_fields.items()}
    return UnusedForm(initial | {name: request.GET[name] for name in initial if request.GET.get(name)})


def find_latest_look(namespace_id: int | None) -> Job | None:
    jobs = Job.objects.filter(action="inspect").order_by("-created_at", "-pk")
    return (jobs if namespace_id is None else jobs.filter(namespace_id=namespace_id)).first()


def make_cards(request: HttpRequest, names: Iterable[str], namespace_id: int | None, rule: UnusedRule) -> list[Card]:
    return [make_card(request, name, namespace_id, rule) for name in names]


def make_card(request: HttpRequest, name: str, namespace_id: int | None, rule: UnusedRule) -> Card:
    assistant, found = ASSISTANTS[name], count(name, namespace_id, rule if name == "unused" else None)
    action, selection = choose_action(name, namespace_id)
    shows_action = bool(action) and found != 0 and is_permitted(request.user, CHANGE)
    return Card(
        assistant.title,
        assistant.explanation,
        describe_number(found),
        build_list_url(assistant, namespace_id, rule),
        found != 0,
        action if shows_action else "",
        build_plan_url(request.user, *selection) if shows_action and selection else "",
    )


def choose_action(name: str, namespace_id: int | None) -> tuple[str, tuple[str, Selection] | None]:
    if name == "duplicate":
        return "Merge all…", ("merge_duplicates", Selection(namespace_id, ListFilters(finding="duplicate")))
    if name == "refused":
        return "Try again…", ("reembed", Selection(namespace_id, embedding=REFUSED))
    return "", None


def build_list_url(assistant: Assistant, namespace_id: int | None, rule: UnusedRule) -> str:
    parameters = dict(assistant.parameters)
    if assistant.name == "unused":
        parameters = {"unused_days": rule.days, "max_importance": rule.max_importance, "used_less_than": rule.min_uses}
    if namespace_id is not None:
        parameters["namespace"] = namespace_id
    if assistant.name == "duplicate":
        parameters.pop("finding")
        return f"{reverse('admin:cleanup_duplicate_changelist')}?{urlencode(parameters)}"
    return f"{reverse('admin:memories_memory_changelist')}?{urlencode(parameters | {'chunks': 'all'})}"


def describe_number(number: int | None) -> str:
    if number is None:
        return "many"
    return format_number(number) if number <= MAX_COUNTED else f"{format_number(MAX_COUNTED)}+"


@require_POST
def start_view(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Have a worker look at the memories of the chosen namespace, or of each."""
    if not is_permitted(request.user, CHANGE):
        raise PermissionDenied
    namespaces = list_chosen_namespaces(request.POST.get("namespace", ""))
    jobs = [job for namespace in namespaces if (job := start_looking(namespace.pk, request.user.get_username()))]
    messages.success(request, STARTED.format(", ".join(str(each) for each in namespaces)) if jobs else IN_PROGRESS)
    if len(jobs) == 1:
        return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[jobs[0].pk]))
    return HttpResponseRedirect(reverse("admin:jobs_job_changelist"))


def list_chosen_namespaces(given: str) -> list[Namespace]:
    if given.isascii() and given.isdigit() and len(given) < 19:
        return list(Namespace.objects.filter(pk=int(given)))
    return list(Namespace.objects.order_by("name"))


def start_looking(namespace_id: int, username: str) -> Job | None:
    """Return a new job, or None while one is open."""
    if Job.objects.open().filter(namespace_id=namespace_id, action="inspect").exists():
        return None
    selection = Selection(namespace_id, ListFilters(states=list(EVERY_STATE)))
    return create_job(namespace_id, "inspect", {}, selection, f"console:{username}")
