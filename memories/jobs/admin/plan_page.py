"""The page before a job: what it would do, to how many memories, ten of them; and the button that starts it."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from psycopg.errors import QueryCanceled
from unfold.admin import ModelAdmin

from memories.console_urls import get_memory_url
from memories.jobs.actions import ACTIONS
from memories.jobs.actions.base import Action
from memories.jobs.admin.forms import ActionForm, ConfirmationForm, make_form
from memories.jobs.admin.list_actions import get_list_url
from memories.jobs.admin.plan import BadPlan, Plan, is_permitted
from memories.jobs.create import CountChanged, Preview, create_job, preview
from memories.jobs.describe import describe_selection
from memories.jobs.models import Job
from memories.models import Memory
from memory_site.core.admin.formatting import format_datetime, format_number, truncate
from memory_site.core.errors import DomainError, InvalidField
from sessions_app.models import Namespace

TOO_OLD = "This page was too old, or has been changed. Nothing was started: choose the memories again."
TOO_SLOW = "Counting these memories takes too long. Narrow the selection with a filter first."
NOTHING_MATCHES = "No memory matches any more. Nothing was started."
COUNT_CHANGED = "Other memories match now than when this page was shown. Nothing was started: look again."
MAX_SAMPLE_LENGTH = 200


@never_cache
@require_http_methods(["GET", "POST"])
def plan_view(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Show what would happen; start it when the form is posted and still true."""
    given = request.POST if request.method == "POST" else request.GET
    try:
        plan = Plan.read(given.get("plan", ""), request.user)
        action = ACTIONS.get(plan.action)
        if action is None:
            raise BadPlan
        if not is_permitted(request.user, action.permission):
            raise PermissionDenied
        return show_or_start(request, model_admin, action, plan)
    except BadPlan:
        return leave(request, TOO_OLD)
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            return leave(request, TOO_SLOW)
        raise


def leave(request: HttpRequest, message: str) -> HttpResponse:
    messages.warning(request, message)
    return HttpResponseRedirect(get_list_url())


def show_or_start(request: HttpRequest, model_admin: ModelAdmin, action: Action, plan: Plan) -> HttpResponse:
    shown = preview(action.name, plan.selection)
    if not shown.matched:
        return leave(request, NOTHING_MATCHES)
    names = dict(Namespace.objects.filter(pk__in=shown.by_namespace).values_list("pk", "name"))
    posted = request.POST if request.method == "POST" else None
    form, confirmation = make_form(action.name, posted), ConfirmationForm(find_answer(action, shown, names), posted)
    if posted is not None and plan.counts != shown.by_namespace:
        messages.warning(request, COUNT_CHANGED)
        form, confirmation = make_form(action.name, posted), ConfirmationForm(confirmation.answer)
    elif posted is not None and form.is_valid() and confirmation.is_valid():
        jobs = start(request, model_admin, action, plan, form)
        if jobs:
            return HttpResponseRedirect(get_jobs_url(jobs))
    return render_plan(request, model_admin, action, plan, shown, names, form, confirmation)


def find_answer(action: Action, shown: Preview, names: dict[int, str]) -> str | None:
    """Return what has to be typed before memories go: the namespace's name, or for several the number. One memory is
    deleted as it is."""
    if not action.is_destructive or shown.matched == 1:
        return None
    return next(iter(names.values())) if len(names) == 1 else f"{action.name} {shown.matched}"


def start(
    request: HttpRequest, model_admin: ModelAdmin, action: Action, plan: Plan, form: ActionForm
) -> Sequence[Job] | None:
    """Create a job in each namespace, or none. Return None, with the form's errors, if something is wrong."""
    parameters, by = form.build_parameters(), f"console:{request.user.get_username()}"
    try:
        with transaction.atomic():
            jobs = [
                create_job(namespace_id, action.name, parameters, plan.selection, by, expected)
                for namespace_id, expected in (plan.counts or {}).items()
            ]
            for job in jobs:
                model_admin.log_addition(request, job, [{"added": {}}])
            return jobs
    except CountChanged:
        messages.warning(request, COUNT_CHANGED)
    except InvalidField as error:
        name = error.field.removeprefix("parameters.").partition(".")[0]
        form.add_error(
            name if name in form.fields else None, f"It {error.message}." if name in form.fields else str(error)
        )
    except DomainError as error:
        form.add_error(None, str(error))
    return None


def get_jobs_url(jobs: Sequence[Job]) -> str:
    if len(jobs) == 1:
        return reverse("admin:jobs_job_change", args=[jobs[0].pk])
    return reverse("admin:jobs_job_changelist")


def render_plan(
    request: HttpRequest,
    model_admin: ModelAdmin,
    action: Action,
    plan: Plan,
    shown: Preview,
    names: dict[int, str],
    form: ActionForm,
    confirmation: ConfirmationForm,
) -> HttpResponse:
    token = Plan(plan.action, plan.selection, shown.by_namespace).sign(request.user)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": action.title,
        "opts": model_admin.opts,
        "media": model_admin.media + form.media,
        "action": action,
        "plan": token,
        "matched": shown.matched,
        "count": format_number(shown.matched),
        "memories_word": "memory" if shown.matched == 1 else "memories",
        "described": describe_selection(plan.selection),
        "by_namespace": [(names.get(pk, pk), format_number(n)) for pk, n in shown.by_namespace.items()],
        "warnings": shown.warnings,
        "samples": list(map(describe_sample, shown.samples)),
        "form": form,
        "confirmation": confirmation,
        "back": get_list_url(),
    }
    return TemplateResponse(request, "admin/jobs/job/plan.html", context)


def describe_sample(memory: Memory) -> dict[str, Any]:
    return {
        "text": truncate(memory.content, MAX_SAMPLE_LENGTH),
        "url": get_memory_url(memory),
        "kind": memory.memory_type.replace("_", " "),
        "user": memory.user_id or "no user",
        "namespace": memory.namespace.name,
        "created": format_datetime(memory.created_at),
    }
