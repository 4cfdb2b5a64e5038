"""The console's pages of scheduled tasks."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django_celery_beat import admin as beat
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from kombu.exceptions import OperationalError
from unfold.admin import TabularInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from memory_site.core.admin.base import BaseAdmin
from memory_site.core.admin.formatting import format_datetime

for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)


class TaskSelect(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    """The registered tasks."""


class PeriodicTaskForm(beat.PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskSelect()


INTERVAL_UNITS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def format_interval(interval: timedelta) -> str:
    """Format an interval in its largest whole unit: 3600 seconds are "every hour"."""
    seconds = interval.total_seconds()
    unit, length = next((pair for pair in INTERVAL_UNITS.items() if seconds % pair[1] == 0), ("second", 1))
    return f"every {unit}" if seconds == length else f"every {seconds / length:g} {unit}s"


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(beat.PeriodicTaskAdmin, BaseAdmin):
    empty_text = "The scheduled tasks of the site appear after manage.py migrate."
    form = PeriodicTaskForm
    date_hierarchy = None
    list_display = ("name", "enabled", "runs", "last_run", "total_run_count")
    list_filter = ("enabled",)
    sortable_by = ("name", "last_run")
    ordering = ("name",)

    @display(description="runs")
    def runs(self, task: PeriodicTask) -> str:
        if task.interval:
            return format_interval(task.interval.schedule.run_every)
        return task.crontab.human_readable if task.crontab else str(task.scheduler)

    @display(description="last run", ordering="last_run_at", empty_value="never")
    def last_run(self, task: PeriodicTask) -> SafeString | None:
        return format_datetime(task.last_run_at)

    @admin.action(description="Run the selected tasks now")
    def run_tasks(self, request: HttpRequest, queryset: QuerySet) -> None:
        try:
            super().run_tasks(request, queryset)
        except OperationalError as error:
            messages.error(request, f"The tasks were not sent: the broker does not answer ({error}).")


class ScheduleTasksInline(TabularInline):
    """The tasks of a schedule."""

    model = PeriodicTask
    verbose_name_plural = "tasks on this schedule"
    fields = readonly_fields = ("name", "task", "enabled")
    can_delete = False
    extra = max_num = 0
    show_change_link = True


class ScheduleAdmin(BaseAdmin):
    inlines = (ScheduleTasksInline,)


@admin.register(IntervalSchedule, SolarSchedule, ClockedSchedule)
class PlainScheduleAdmin(ScheduleAdmin):
    pass


@admin.register(CrontabSchedule)
class CrontabAdmin(ScheduleAdmin):
    list_display = ("__str__", "human_readable")
    readonly_fields = ("human_readable",)
    fields = ("human_readable", "minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone")
