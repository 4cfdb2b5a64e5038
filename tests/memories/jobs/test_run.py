"""A job changes what its selection means, batch by batch, once; what cannot be changed is left and named."""

import pytest
from django.db import OperationalError, transaction
from django.db.models import Count

from memories.jobs import run as running
from memories.jobs import tasks
from memories.jobs.create import CountChanged, create_job, preview
from memories.jobs.models import Job, JobState
from memories.jobs.run import cancel, resize, run_job
from memories.models import DueEmbedding, Memory
from memories.search.filters import Filters
from memories.search.selection import Selection
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.errors import InvalidField
from tests.memories.jobs.conftest import make_memories, run_to_end

pytestmark = pytest.mark.django_db


def create(namespace, action: str, parameters: dict | None = None, **filters: object) -> Job:
    return create_job(namespace.pk, action, parameters or {}, Selection(namespace.pk, Filters(**filters)), "console:x")


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(running, "FIRST_BATCH", 20)
    monkeypatch.setattr(running, "MAX_BATCH", 20)
    monkeypatch.setattr(running, "REST_SHARE", 0)


def test_a_preview_counts_exactly_and_shows_the_newest_ten(namespace, elsewhere):
    made = make_memories(namespace, 12, user_id="ada")
    make_memories(namespace, 3, user_id="bob")
    make_memories(elsewhere, 2, user_id="ada")
    shown = preview("delete", Selection(None, Filters(user_id="ada")))
    assert (shown.matched, shown.by_namespace) == (14, {namespace.pk: 12, elsewhere.pk: 2})
    shown = preview("delete", Selection(namespace.pk, Filters(user_id="ada")))
    assert [memory.pk for memory in shown.samples] == [memory.pk for memory in reversed(made[2:])]
    assert Memory.objects.count() == 17


def test_a_job_deletes_what_matches_and_nothing_else(namespace, elsewhere, run):
    make_memories(namespace, 130, user_id="ada")
    make_memories(namespace, 3, user_id="bob")
    make_memories(elsewhere, 2, user_id="ada")
    job = run("delete", user_id="ada")
    assert (job.state, job.matched, job.done, job.failed) == ("finished", 130, 130, 0)
    counts = dict(
        Memory.objects.values_list("user_id", "namespace__name").annotate(n=Count("pk")).values_list("user_id", "n")
    )
    assert counts == {"bob": 3, "ada": 2}
    assert job.started_at <= job.finished_at
    assert job.percent == 100


def test_what_is_stored_after_the_job_was_asked_for_stays(namespace):
    make_memories(namespace, 5)
    job = create(namespace, "delete")
    [later] = make_memories(namespace, 1, user_id="late")
    run_to_end(job)
    assert list(Memory.objects.values_list("pk", flat=True)) == [later.pk]


@pytest.mark.parametrize(
    ("action", "parameters", "field", "value"),
    [
        ("tag", {"tags": ["new", "old"]}, "tags", ["keep", "new", "old"]),
        ("untag", {"tags": ["old", "none"]}, "tags", ["keep"]),
        ("set_importance", {"importance": 5}, "importance", 5),
        ("set_user", {"user_id": "eve"}, "user_id", "eve"),
        ("set_user", {"user_id": None}, "user_id", None),
        ("set_type", {"memory_type": "project"}, "memory_type", "project"),
        ("expire", {"expires_at": None}, "expires_at", None),
    ],
    ids=["tag", "untag", "importance", "user", "nobody", "type", "never"],
)
def test_an_action_changes_its_field_and_when_it_was_changed(namespace, run, action, parameters, field, value):
    before = make_memories(namespace, 3, user_id="ada", tags=["old", "keep"], expires_at="2100-01-01T00:00Z")
    job = run(action, parameters, user_id="ada")
    assert (job.done, job.failed) == (3, 0)
    for memory in Memory.objects.all():
        assert getattr(memory, field) == value
        assert memory.updated_at > before[0].updated_at


def test_memories_expire_at_a_time_to_come(namespace, run):
    make_memories(namespace, 1)
    run("expire", {"expires_at": "2100-01-01T00:00:00Z"})
    assert Memory.objects.get().expires_at.year == 2100
    with pytest.raises(InvalidField, match="future"):
        run("expire", {"expires_at": "2020-01-01T00:00:00Z"})


def test_memories_are_embedded_again(namespace, run):
    [memory] = make_memories(namespace, 1)
    DueEmbedding.objects.all().delete()
    run("reembed")
    assert [due.memory_id for due in DueEmbedding.objects.all()] == [memory.pk]


def test_memories_that_would_become_the_same_stay_and_are_named(namespace, run):
    mine = make_memories(namespace, 8, user_id="ada")
    theirs = make_memories(namespace, 3, user_id="bob")  # text 0 to text 2
    job = run("set_user", {"user_id": "bob"}, user_id="ada")
    assert (job.state, job.done, job.failed) == ("finished", 5, 3)
    assert [entry["id"] for entry in job.log] == [str(memory.pk) for memory in mine[:3]]
    assert {entry["reason"] for entry in job.log} == {"Another memory has the same content, type and user."}
    assert Memory.objects.filter(user_id="bob").count() == 8
    assert Memory.objects.filter(pk__in=[memory.pk for memory in theirs]).count() == 3


def test_of_two_memories_of_one_batch_that_become_the_same_the_first_is_changed(namespace, run):
    first = make_memories(namespace, 4, user_id="ada")
    make_memories(namespace, 4, user_id="eve")
    job = run("set_user", {"user_id": "bob"})
    assert (job.done, job.failed) == (4, 4)
    assert set(Memory.objects.filter(user_id="bob").values_list("pk", flat=True)) == {memory.pk for memory in first}


def test_an_expired_memory_is_not_in_the_way(namespace, run):
    make_memories(namespace, 1, user_id="bob", expires_at="2020-01-01T00:00Z")
    make_memories(namespace, 1, user_id="ada")
    assert run("set_user", {"user_id": "bob"}, user_id="ada").done == 1


def test_a_memory_with_relationships_keeps_its_user(api, run):
    a, b = (api.add(text, user_id="ada") for text in ("one", "two"))
    api.post(f"/memories/{a['id']}/relationships", {"to_id": b["id"], "type": "relates_to"})
    api.add("three", user_id="ada")
    job = run("set_user", {"user_id": "bob"}, user_id="ada")
    assert (job.done, job.failed) == (1, 2)
    assert "relationships" in job.log[0]["reason"]


def test_a_memory_has_at_most_256_tags(namespace, run):
    make_memories(namespace, 1, tags=[str(number) for number in range(256)])
    make_memories(namespace, 1, tags=["few"], user_id="ada")
    job = run("tag", {"tags": ["one more"]})
    assert (job.done, [entry["reason"] for entry in job.log]) == (1, ["It would have more than 256 tags."])


def test_nothing_is_started_when_another_number_matches(namespace):
    make_memories(namespace, 3)
    with pytest.raises(CountChanged, match="3 memories match now, not 2"):
        create_job(namespace.pk, "delete", {}, Selection(namespace.pk), "console:x", expected=2)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("action", "parameters", "field"),
    [
        ("burn", {}, "action"),
        ("tag", {}, "parameters.tags"),
        ("tag", {"tags": []}, "parameters.tags"),
        ("delete", {"really": True}, "parameters.really"),
        ("set_importance", {"importance": 6}, "parameters.importance"),
        ("set_type", {"memory_type": "poem"}, "parameters.memory_type"),
    ],
    ids=["unknown", "missing", "empty", "extra", "range", "type"],
)
def test_wrong_parameters_are_named(namespace, action, parameters, field):
    with pytest.raises(InvalidField) as error:
        create(namespace, action, parameters)
    assert error.value.field == field


def test_a_job_that_no_worker_has_begun_is_cancelled_at_once(namespace):
    make_memories(namespace, 3)
    job = create(namespace, "delete")
    assert cancel(job)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert tasks.run_jobs() == 0
    assert not cancel(job)
    assert Memory.objects.count() == 3


def test_a_running_job_stops_after_its_batch(namespace, small_batches):
    make_memories(namespace, 100)
    job = create(namespace, "delete")
    steps = run_job(job)
    next(steps)
    assert cancel(Job.objects.get())
    assert list(steps) == [job]
    assert (job.state, job.done, Memory.objects.count()) == (JobState.CANCELLED, 20, 80)


def test_a_deleted_job_stops(namespace, small_batches):
    make_memories(namespace, 100)
    steps = run_job(create(namespace, "delete"))
    next(steps)
    Job.objects.all().delete()
    with pytest.raises(AlreadyRunning):
        next(steps)
    assert Memory.objects.count() == 80


def test_a_job_is_run_by_one_worker_at_a_time(namespace, small_batches):
    make_memories(namespace, 50)
    job = create(namespace, "delete")
    steps = run_job(job)
    next(steps)
    with pytest.raises(AlreadyRunning):
        next(run_job(Job.objects.get()))
    steps.close()
    assert run_to_end(Job.objects.get()).done == 50


def test_short_jobs_do_not_wait_for_a_long_one(namespace, small_batches, monkeypatch):
    make_memories(namespace, 100, user_id="ada")
    make_memories(namespace, 1, user_id="bob")
    long = create(namespace, "tag", {"tags": ["a"]}, user_id="ada")
    short = create(namespace, "tag", {"tags": ["b"]}, user_id="bob")
    assert tasks.run_jobs() == 2
    long.refresh_from_db()
    short.refresh_from_db()
    assert short.finished_at < long.finished_at


def test_a_job_of_an_unknown_action_fails_and_says_so(namespace):
    make_memories(namespace, 1)
    job = create(namespace, "delete")
    Job.objects.update(action="burn")
    tasks.run_jobs()
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "must be one of" in job.message


def test_a_job_is_given_up_when_every_worker_is_lost_over_one_batch(namespace):
    make_memories(namespace, 1)
    job = create(namespace, "delete")
    Job.objects.update(attempts=tasks.MAX_ATTEMPTS)
    tasks.run_jobs()
    job.refresh_from_db()
    assert (job.state, job.message, Memory.objects.count()) == (JobState.FAILED, tasks.GIVEN_UP, 1)


def test_a_database_that_does_not_answer_leaves_the_job_open(namespace, monkeypatch):
    make_memories(namespace, 1)
    job = create(namespace, "delete")

    def fail(*_: object) -> None:
        raise OperationalError("away")

    with monkeypatch.context() as patch, transaction.atomic():
        patch.setattr("memories.jobs.actions.delete.Delete.apply", fail)
        with pytest.raises(Exception, match="Running jobs failed in ours"):
            tasks.run_jobs()
    job.refresh_from_db()
    assert (job.is_open, job.attempts) == (True, 0)
    assert tasks.run_jobs() == 1


@pytest.mark.parametrize(
    ("seconds", "size"), [(0.01, 200), (0.25, 100), (1.0, 25), (60.0, 20)], ids=["fast", "right", "slow", "stuck"]
)
def test_batches_are_as_large_as_fits_into_a_quarter_of_a_second(seconds, size):
    assert resize(100, seconds) == size
