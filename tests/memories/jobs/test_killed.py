"""Workers that are killed with SIGKILL, between two batches and inside of one: nothing is done twice or left out."""

import os
import signal
import warnings

import pytest
from django.db import connection

from memories.jobs import run as running
from memories.jobs import tasks
from memories.jobs.actions.delete import Delete
from memories.jobs.actions.importance import SetImportance
from memories.jobs.create import create_job
from memories.jobs.models import JobState
from memories.models import Memory
from memories.search.selection import Selection
from memory_site.core.leases import leases
from memory_site.core.leases.models import Lease
from tests.memories.jobs.conftest import make_memories

pytestmark = pytest.mark.django_db(transaction=True)
COUNT = 100
COUNT_CHANGES_SQL = """
CREATE TABLE changes (id uuid);
CREATE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO changes VALUES (OLD.id); RETURN NULL; END $$;
CREATE TRIGGER zz_count_change AFTER UPDATE OR DELETE ON memories_memory FOR EACH ROW EXECUTE FUNCTION count_change()
"""
FORGET_CHANGES_SQL = "DROP TRIGGER zz_count_change ON memories_memory; DROP FUNCTION count_change; DROP TABLE changes"


@pytest.fixture
def changes():
    """Returns how often each memory was changed or deleted."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT_CHANGES_SQL)

    def count() -> list[int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM changes GROUP BY id")
            return [number for (number,) in cursor.fetchall()]

    yield count
    with connection.cursor() as cursor:
        cursor.execute(FORGET_CHANGES_SQL)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(running, "FIRST_BATCH", 20)
    monkeypatch.setattr(running, "MAX_BATCH", 20)
    monkeypatch.setattr(running, "REST_SHARE", 0)


def work_and_die(batches: int, *, inside: bool) -> None:
    """Run the open jobs in another process, which kills itself after so many batches, or in the next one: when its
    changes are made and not yet committed."""
    connection.close()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # no thread is at work here
        pid = os.fork()
    if pid == 0:
        try:
            die_after(batches, inside)
            tasks.run_jobs()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def die_after(batches: int, inside: bool) -> None:
    done = 0

    def count(work):
        def run(*arguments):
            nonlocal done
            result = work(*arguments)
            done += 1
            if done == batches + inside:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return run

    if inside:
        SetImportance.apply, Delete.apply = count(SetImportance.apply), count(Delete.apply)
    else:
        tasks.advance = count(tasks.advance)


@pytest.mark.parametrize("inside", [False, True], ids=["between", "inside"])
@pytest.mark.parametrize("action", ["set_importance", "delete"])
def test_no_batch_is_done_twice_and_none_is_left_out(namespace, changes, action, inside):
    make_memories(namespace, COUNT)
    parameters = {"importance": 5} if action == "set_importance" else {}
    job = create_job(namespace.pk, action, parameters, Selection(namespace.pk), "console:x")
    for batches in (1, 2):  # two workers are lost, one after the other
        work_and_die(batches, inside=inside)
    job.refresh_from_db()
    assert (job.state, job.done, len(changes())) == (JobState.RUNNING, 60, 60)
    assert tasks.run_jobs() == 1  # the lease of a process that has ended is free at once
    job.refresh_from_db()
    assert (job.state, job.done) == (JobState.FINISHED, COUNT)
    assert changes() == [1] * COUNT


def test_a_worker_that_stood_still_does_nothing_after_another_has_taken_over(namespace, changes, monkeypatch):
    monkeypatch.setattr(leases, "RENEWAL_INTERVAL_SECONDS", 600)
    make_memories(namespace, COUNT)
    job = create_job(namespace.pk, "set_importance", {"importance": 5}, Selection(namespace.pk), "console:x")
    steps = running.run_job(job)
    next(steps)
    Lease.objects.update(expires_at="2020-01-01T00:00Z")
    assert tasks.run_jobs() == 1
    with pytest.raises(running.AlreadyRunning):
        list(steps)
    assert changes() == [1] * COUNT


def test_a_cancelled_job_whose_worker_is_lost_is_ended_by_the_next_one(namespace):
    make_memories(namespace, COUNT)
    job = create_job(namespace.pk, "delete", {}, Selection(namespace.pk), "console:x")
    work_and_die(1, inside=False)
    running.cancel(job)
    assert tasks.run_jobs() == 1
    job.refresh_from_db()
    assert (job.state, Memory.objects.count()) == (JobState.CANCELLED, COUNT - 20)


def test_a_row_that_stays_locked_delays_the_job_and_does_not_end_it(namespace, monkeypatch):
    monkeypatch.setattr(running, "MAX_LOCK_WAIT_SECONDS", 0.2)
    make_memories(namespace, 30)
    job = create_job(namespace.pk, "delete", {}, Selection(namespace.pk), "console:x")
    other = connection.copy()
    other.inc_thread_sharing()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT FROM memories_memory ORDER BY id DESC LIMIT 1 FOR UPDATE")
        with pytest.raises(Exception, match="Running jobs failed in ours"):
            tasks.run_jobs()
        job.refresh_from_db()
        assert (job.is_open, job.done) == (True, 20)
        other.rollback()
    finally:
        other.close()
    assert tasks.run_jobs() == 1
    assert not Memory.objects.exists()
