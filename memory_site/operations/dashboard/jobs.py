"""The card of jobs, and what needs attention about them."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from memories.counts import NAMESPACE_SQL
from memories.jobs.describe import describe_job
from memories.jobs.models import OPEN_STATES, Job, JobState
from memory_site.core.admin.formatting import format_number, replace_underscores, truncate
from memory_site.operations.dashboard.content import Content, Figure, Line, Notice, Scope
from memory_site.operations.dashboard.links import link_list, link_page

MODEL = "jobs_job"
MAX_LINES, MAX_TEXT_LENGTH = 5, 80
# The jobs at work come with the counts.
JOBS_SQL = """
SELECT state, count(*), (array_agg(
    json_build_object('id', id, 'action', action, 'done', done, 'matched', matched,
                      'at', coalesce(started_at, created_at))
    ORDER BY created_at DESC
) FILTER (WHERE state = ANY(%(open)s)))[1:%(limit)s]
FROM jobs_job WHERE {scope} GROUP BY state ORDER BY state
"""
STATE_TONES = {JobState.FAILED: "danger", JobState.FINISHED: "success"}


class Jobs(NamedTuple):
    """Jobs of one state: how many, and those at work as {id, action, done, matched, at}."""

    state: str
    jobs: int
    open: list[dict[str, Any]] | None


def build_jobs(scope: Scope) -> Content:
    states = fetch_jobs(scope)
    if not states:
        return Content(empty="No job was asked for yet. Actions on many memories are jobs: choose one in a list.")
    figures = [
        Figure(
            each.state,
            each.jobs,
            link_list(MODEL, **scope.filters, state=each.state),
            STATE_TONES.get(JobState(each.state), ""),
        )
        for each in states
    ]
    lines = [describe_open(job) for each in states for job in each.open or ()]
    return Content(figures=figures, lines=lines[:MAX_LINES], note="" if lines else "None is at work now.")


def fetch_jobs(scope: Scope) -> list[Jobs]:
    where = "true" if scope.namespace_id is None else NAMESPACE_SQL
    values = {"namespace": scope.namespace_id, "open": list(OPEN_STATES), "limit": MAX_LINES}
    with connection.cursor() as cursor:
        cursor.execute(JOBS_SQL.format(scope=where), values)
        return [Jobs(*row) for row in cursor.fetchall()]


def describe_open(job: dict[str, Any]) -> Line:
    done = format_number(job["done"])
    progress = f"{done} done" if job["matched"] is None else f"{done} of {format_number(job['matched'])} done"
    name = replace_underscores(job["action"]).capitalize()
    return Line(name, link_page(MODEL, job["id"]), progress, datetime.fromisoformat(job["at"]))


def find_failed_jobs(scope: Scope) -> list[Notice]:
    """Find jobs that failed in a day, and those that no worker works on."""
    failed = Q(state=JobState.FAILED, finished_at__gt=Now() - timedelta(days=1))
    jobs = Job.objects.filter(failed | Q(pk__in=Job.objects.stuck().values("pk")), **scope.filters)
    return [describe_problem(job) for job in jobs.order_by("-created_at")[:100]]


def describe_problem(job: Job) -> Notice:
    what = truncate(describe_job(job), MAX_TEXT_LENGTH)
    if job.state == JobState.FAILED:
        reason = truncate(job.message, MAX_TEXT_LENGTH).rstrip(".") or "no reason is known"
        return Notice(f"A job failed: {what} ({reason}).", "Open the job", link_page(MODEL, job.pk), tone="danger")
    return Notice(f"No worker works on a job: {what}.", "Open the job", link_page(MODEL, job.pk))
