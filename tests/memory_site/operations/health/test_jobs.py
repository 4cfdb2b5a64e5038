"""The health of jobs: an open one without a worker is a fault, one that waits for its turn is none."""

from datetime import timedelta

import pytest
from django.utils import timezone

from memories.jobs.models import Job, JobState
from memory_site.operations.health.jobs import check_jobs
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.metrics.store import read_jobs

pytestmark = pytest.mark.django_db


def make(namespace, state: JobState, silent_seconds: int) -> None:
    job = Job.objects.create(namespace=namespace, action="delete", state=state)
    Job.objects.filter(pk=job.pk).update(last_heartbeat_at=timezone.now() - timedelta(seconds=silent_seconds))


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ((), "0 jobs run, 0 wait."),
        (((JobState.RUNNING, 5), (JobState.PENDING, 600), (JobState.FINISHED, 600)), "1 jobs run, 1 wait."),
        (((JobState.PENDING, 5),), "0 jobs run, 1 wait."),
        (((JobState.PENDING, 600),), "1 jobs are open"),
        (((JobState.RUNNING, 600), (JobState.CANCELLING, 600), (JobState.RUNNING, 5)), "2 jobs are open"),
    ],
    ids=["none", "busy", "new", "no worker", "lost"],
)
def test_jobs_without_a_worker_are_a_fault(namespace, jobs, message):
    for state, silent in jobs:
        make(namespace, state, silent)
    status, text = check_jobs()
    assert text.startswith(message)
    assert (status is HealthStatus.DEGRADED) == ("open" in message)


def test_open_jobs_are_counted_by_state(namespace):
    make(namespace, JobState.PENDING, 600)
    make(namespace, JobState.RUNNING, 0)
    assert {value.labels[0]: value.value for value in read_jobs()} == {
        "pending": 1, "running": 1, "cancelling": 0, "stuck": 1,
    }  # fmt: skip
