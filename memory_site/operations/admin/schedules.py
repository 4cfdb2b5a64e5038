"""The console's page of scheduled tasks. Intervals and crontabs are fields of a task, not pages of their own."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)
from kombu.exceptions import OperationalError
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.views import ChangeList

from memory_site.core.admin.base import BaseAdmin
from memory_site.core.admin.formatting import format_datetime, format_duration
from memory_site.core.admin.polling import POLL_TEMPLATE, PollingChangeList
from memory_site.operations.admin.schedule_form import CONDITIONAL_FIELDS, ScheduleForm
from memory_site.operations.health.schedules import find_due_time
from memory_site.operations.models import RunState, ScheduleOutcome
from memory_site.operations.schedule_runs import UnknownTask, find_live_workers, request_run
from memory_site.operations.schedule_words import describe_change, describe_task, get_default, get_purpose
from memory_site.operations.schedules import reset_schedule

for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)

# In breadcrumbs and in the log, where the library would add the crontab's syntax.
PeriodicTask.__str__ = lambda task: task.name  # type: ignore[method-assign]

STATE_COLOURS = {
    RunState.NEVER: "info",
    RunState.QUEUED: "warning",
    RunState.RUNNING: "info",
    RunState.INTERRUPTED: "danger",
    RunState.SUCCEEDED: "success",
    RunState.FAILED: "danger",
}
OPEN_STATES = (RunState.QUEUED, RunState.RUNNING)
TWO_LINES = '<span class="schedule-cell">{}<small>{}</small></span>'
QUEUED = "Queued for a worker; the list follows how it ends."


class ConfirmationForm(BaseDialogForm):
    """A form without fields: submitting it is the confirmation."""


class ScheduleList(PollingChangeList):
    def complete(self, rows: list[PeriodicTask]) -> list[PeriodicTask]:
        """Read how the tasks of this page ran, and whose workers are alive, in two statements."""
        add_outcomes(rows)
        return rows

    def is_open(self, row: PeriodicTask) -> bool:
        return row.state in OPEN_STATES


def add_outcomes(tasks: list[PeriodicTask]) -> None:
    """Give each task `outcome` and `state`."""
    outcomes, alive = ScheduleOutcome.objects.in_bulk([task.name for task in tasks]), find_live_workers()
    for task in tasks:
        task.outcome = outcomes.get(task.name) or ScheduleOutcome(name=task.name)
        task.state = task.outcome.find_state(alive)


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(BaseAdmin):
    empty_text = "The scheduled tasks of the site appear when the scheduler (beat) has started once."
    form = ScheduleForm
    conditional_fields = CONDITIONAL_FIELDS
    list_display = ("task_name", "runs", "last_run", "last_outcome", "next_run")
    list_filter = ("enabled",)
    list_before_template = POLL_TEMPLATE
    search_fields = ("name", "task")
    ordering = ("name",)
    sortable_by = ("task_name",)
    actions = ("run_selected", "enable_selected", "disable_selected")
    actions_row = actions_detail = ("run_now", "reset")
    readonly_fields = ("state_now", "default_now", "purpose")
    fieldsets = (
        (None, {"fields": (("name", "enabled"), "purpose", "state_now")}),
        ("When it runs", {"fields": ("rhythm", ("every", "period"), ("at", "weekday"), "crontab_text", "default_now")}),
        ("More", {"fields": ("task", ("args", "kwargs"), "expire_seconds", "description"), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("interval", "crontab", "solar", "clocked")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ScheduleList

    def get_fieldsets(self, request: HttpRequest, obj: PeriodicTask | None = None) -> Any:
        if obj:
            return self.fieldsets
        hidden = {*self.readonly_fields}
        return [
            (title, {**options, "fields": [field for field in options["fields"] if field not in hidden]})
            for title, options in self.fieldsets
        ]

    def has_delete_permission(self, request: HttpRequest, obj: PeriodicTask | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and get_default(obj.name))

    def get_actions(self, request: HttpRequest) -> dict:
        """Leave out Django's deletion of many: it would take built-in ones along."""
        return {name: each for name, each in super().get_actions(request).items() if name != "delete_selected"}

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Say in the log what the schedule was and what it is now."""
        after = describe_task(form.instance)
        if add or form.described in (None, after):
            return super().construct_change_message(request, form, formsets, add)
        return f"Runs {after}, before: {form.described}."

    # Columns

    @display(description="task", ordering="name")
    def task_name(self, task: PeriodicTask) -> SafeString:
        off = "" if task.enabled else format_html(' <span class="schedule-off">off</span>')
        return format_html(TWO_LINES, format_html("<strong>{}</strong>{}", task.name, off), get_purpose(task))

    @display(description="runs")
    def runs(self, task: PeriodicTask) -> SafeString | str:
        changed = describe_change(task)
        words = describe_task(task)
        return format_html(TWO_LINES, words, f"changed from the default ({changed})") if changed else words

    @display(description="last run", empty_value="never")
    def last_run(self, task: PeriodicTask) -> SafeString | None:
        times = (task.outcome.started_at, task.outcome.ended_at, task.last_run_at)
        if not any(times):
            return None
        took = "" if task.outcome.seconds is None else f"took {format_duration(task.outcome.seconds)}"
        return format_html(TWO_LINES, format_datetime(max(filter(None, times))), took)

    @display(description="outcome", label=STATE_COLOURS)
    def last_outcome(self, task: PeriodicTask) -> tuple[str, str]:
        return task.state, describe_state(task)

    @display(description="next run", empty_value="-")
    def next_run(self, task: PeriodicTask) -> SafeString | str | None:
        if not task.enabled:
            return "switched off"
        due = find_due_time(task, timezone.now())
        return format_datetime(max(due, timezone.now())) if due else None

    @display(description="what it does")
    def purpose(self, task: PeriodicTask) -> str:
        return get_purpose(task) or "-"

    @display(description="last run")
    def state_now(self, task: PeriodicTask) -> SafeString | str:
        add_outcomes([task])
        last_run = self.last_run(task)
        return format_html("{}, {}", describe_state(task), last_run) if last_run else describe_state(task)

    @display(description="default", empty_value="-")
    def default_now(self, task: PeriodicTask) -> str | None:
        if get_default(task.name) is None:
            return None
        changed = describe_change(task)
        return f"changed from the default: {changed}" if changed else "as this release has it"

    # Actions

    @action(
        description="Run now",
        icon="play_arrow",
        permissions=["change"],
        dialog={
            "title": "Run this task now?",
            "description": "A worker runs it as soon as one is free, whether the task is switched on or not. "
            "Its schedule stays as it is.",
            "form_class": ConfirmationForm,
            "form_submit_text": "Run now",
        },
    )
    def run_now(self, request: HttpRequest, form: ConfirmationForm, object_id: str) -> HttpResponse:
        if task := self.get_object(request, object_id):
            self.request_runs(request, [task])
        return redirect_to_list()

    @action(
        description="Reset to default",
        icon="restart_alt",
        permissions=["change"],
        dialog={
            "title": "Reset this task to its default?",
            "description": "Its times and arguments become those of this release.",
            "form_class": ConfirmationForm,
            "form_submit_text": "Reset",
        },
    )
    def reset(self, request: HttpRequest, form: ConfirmationForm, object_id: str) -> HttpResponse:
        task = self.get_object(request, object_id)
        before = task and describe_task(task)
        if task and reset_schedule(task):
            task = self.get_queryset(request).get(pk=task.pk)
            self.log_change(request, task, f"Reset: runs {describe_task(task)}, before: {before}.")
            messages.success(request, f"“{task.name}” runs {describe_task(task)} again.")
        else:
            messages.warning(request, "Only a task of this release has a default.")
        return redirect_to_list()

    @admin.action(description="Run the selected tasks now", permissions=["change"])
    def run_selected(self, request: HttpRequest, queryset: QuerySet) -> None:
        self.request_runs(request, queryset)

    @admin.action(description="Switch on", permissions=["change"])
    def enable_selected(self, request: HttpRequest, queryset: QuerySet) -> None:
        self.switch(request, queryset, enabled=True)

    @admin.action(description="Switch off", permissions=["change"])
    def disable_selected(self, request: HttpRequest, queryset: QuerySet) -> None:
        self.switch(request, queryset, enabled=False)

    def switch(self, request: HttpRequest, queryset: QuerySet, *, enabled: bool) -> None:
        words = "on" if enabled else "off"
        tasks = list(queryset.exclude(enabled=enabled))
        queryset.filter(pk__in=[task.pk for task in tasks]).update(enabled=enabled, date_changed=timezone.now())
        PeriodicTasks.update_changed()
        for task in tasks:
            self.log_change(request, task, f"Switched {words}.")
        messages.success(request, f"Switched {words}: {', '.join(task.name for task in tasks) or 'none'}.")

    def request_runs(self, request: HttpRequest, tasks: Iterable[PeriodicTask]) -> None:
        for task in tasks:
            try:
                request_run(task, f"console:{request.user.get_username()}")
            except (UnknownTask, OperationalError) as error:
                messages.error(request, f"“{task.name}” was not sent: {error}")
            else:
                self.log_change(request, task, "Run now.")
                messages.success(request, f"“{task.name}”: {QUEUED}")


def describe_state(task: PeriodicTask) -> str:
    """Return the state of the last run, with the message of one that failed."""
    if task.state == RunState.FAILED:
        return f"failed: {task.outcome.message or task.outcome.error}"
    if task.state == RunState.INTERRUPTED:
        return "interrupted: its worker ended"
    return str(task.state)


def redirect_to_list() -> HttpResponse:
    return HttpResponse(headers={"HX-Redirect": reverse("admin:django_celery_beat_periodictask_changelist")})
