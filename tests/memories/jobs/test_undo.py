"""What a job did is taken back by another job, as long as the history holds it and nobody has changed it since."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from memories.history.models import MemoryVersion
from memories.jobs import run as running
from memories.jobs import tasks
from memories.jobs.models import Job, JobState
from memories.jobs.undo import ALREADY_ASKED, create_undo, explain_no_undo
from memories.models import Memory
from memory_site.core.errors import Conflict
from tests.memories.jobs.conftest import make_memories, run_to_end
from tests.memories.jobs.test_run import create
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
FIELDS = ("id", "content", "user_id", "memory_type", "importance", "tags", "expires_at", "metadata", "created_at")


def take_back(job: Job) -> Job:
    undo = create_undo(job, "console:operator")
    assert undo.matched == job.done
    return run_to_end(undo)


def list_rows(namespace) -> list[dict]:
    return list(Memory.objects.filter(namespace=namespace).order_by("pk").values(*FIELDS))


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("delete", {}),
        ("tag", {"tags": ["new"]}),
        ("untag", {"tags": ["old"]}),
        ("set_importance", {"importance": 5}),
        ("expire", {"expires_at": "2100-01-01T00:00:00Z"}),
        ("set_type", {"memory_type": "project"}),
        ("set_user", {"user_id": "eve"}),
        ("move", {"namespace_id": 2}),
    ],
    ids=["delete", "tag", "untag", "importance", "expire", "type", "user", "move"],
)
def test_every_row_is_again_what_it_was(namespace, elsewhere, run, monkeypatch, action, parameters):
    monkeypatch.setattr(running, "FIRST_BATCH", 20)
    monkeypatch.setattr(running, "MAX_BATCH", 20)
    make_memories(namespace, 50, user_id="ada", tags=["old"], metadata={"n": 1})
    before = list_rows(namespace)
    job = run(action, parameters)
    assert list_rows(namespace) != before
    undo = take_back(job)
    assert (undo.state, undo.done, undo.failed, undo.undo_of) == (JobState.FINISHED, 50, 0, job.pk)
    assert list_rows(namespace) == before
    assert not Memory.objects.filter(namespace=elsewhere).exists()
    job.refresh_from_db()
    assert job.state == JobState.UNDONE


def test_relationships_come_back_with_their_memories(api, run):
    a, b = (api.add(text, user_id="ada") for text in ("one", "two"))
    api.post(f"/memories/{a['id']}/relationships", {"to_id": b["id"], "type": "led_to"})
    take_back(run("delete", user_id="ada"))
    assert [each["type"] for each in api.get(f"/memories/{a['id']}/relationships").json()["results"]] == ["led_to"]


def test_what_was_changed_since_stays_and_is_named(api, namespace, run):
    made = make_memories(namespace, 3, user_id="ada")
    job = run("set_importance", {"importance": 5})
    api.patch(f"/memories/{made[0].pk}", {"importance": 1})
    api.delete(f"/memories/{made[1].pk}")
    undo = take_back(job)
    assert (undo.done, undo.failed) == (1, 2)
    assert {entry["id"] for entry in undo.log} == {str(made[0].pk), str(made[1].pk)}
    assert Memory.objects.get(pk=made[0].pk).importance == 1


def test_a_moved_memory_that_was_changed_there_stays_there(namespace, elsewhere, run):
    made = make_memories(namespace, 2)
    job = run("move", {"namespace_id": elsewhere.pk})
    Memory.objects.filter(pk=made[0].pk).update(importance=1, updated_at=job.finished_at + timedelta(seconds=1))
    undo = take_back(job)
    assert (undo.done, undo.failed) == (1, 1)
    assert dict(Memory.objects.values_list("pk", "namespace_id")) == {made[0].pk: 2, made[1].pk: 1}


def test_what_a_cancelled_job_did_is_taken_back(namespace, monkeypatch):
    monkeypatch.setattr(running, "FIRST_BATCH", 20)
    monkeypatch.setattr(running, "MAX_BATCH", 20)
    make_memories(namespace, 50)
    job = create(namespace, "delete")
    steps = running.run_job(job)
    next(steps)
    running.cancel(job)
    list(steps)
    assert Memory.objects.count() == 30
    take_back(job)
    assert Memory.objects.count() == 50


def test_an_undo_is_recorded_as_what_it_is(namespace, run):
    make_memories(namespace, 1)
    job = run("tag", {"tags": ["a"]})
    undo = take_back(job)
    versions = list(MemoryVersion.objects.order_by("changed_at").values_list("job_id", "changed_by"))
    assert versions == [(job.pk, "console:operator"), (undo.pk, "console:operator")]


def test_it_is_refused_with_a_reason(namespace, run, settings):
    make_memories(namespace, 1)
    job = run("tag", {"tags": ["a"]})
    create_undo(job, "console:x")
    with pytest.raises(Conflict, match=ALREADY_ASKED):
        create_undo(job, "console:x")
    tasks.run_jobs()
    job.refresh_from_db()
    assert "already" in explain_no_undo(job)
    assert "cannot" in explain_no_undo(Job.objects.get(undo_of=job.pk))
    assert "cannot" in explain_no_undo(run("reembed"))
    assert "nothing" in explain_no_undo(run("tag", {"tags": ["b"]}, user_id="nobody"))
    old = run("delete")
    old.finished_at -= timedelta(days=settings.TRASH_DAYS, seconds=1)
    assert "no longer holds" in explain_no_undo(old)


def test_the_api_takes_a_job_back(api, namespace, run):
    make_memories(namespace, 2)
    job = run("delete")
    assert api.get(f"/jobs/{job.pk}").json()["can_undo"] is True
    answer = api.post(f"/jobs/{job.pk}/undo")
    assert (answer.status_code, answer.json()["undo_of"]) == (202, str(job.pk))
    assert is_problem(api.post(f"/jobs/{job.pk}/undo"), 409)
    assert tasks.run_jobs() == 1
    assert api.get(f"/jobs/{job.pk}").json()["state"] == "undone"
    assert Memory.objects.count() == 2


def test_the_console_takes_a_job_back_from_its_page(console, namespace, run):
    make_memories(namespace, 2)
    job = run("delete")
    url = f"/admin/jobs/job/{job.pk}/"
    assert f'action="{url}undo/"' in console.get(f"{url}change/").content.decode()
    page = console.post(f"{url}undo/", follow=True)
    assert f"/admin/jobs/job/{Job.objects.get(undo_of=job.pk).pk}/change/" in page.redirect_chain[-1][0]
    assert f'href="{url}change/"' in page.content.decode()
    tasks.run_jobs()
    assert Memory.objects.count() == 2
    assert "taken back already" in console.post(f"{url}undo/", follow=True).content.decode()


def test_the_undo_of_a_move_keeps_what_has_no_other_place(namespace, elsewhere, run):
    """One cannot come back, since the same was stored again; one was changed while the move still ran."""
    again, changed, plain = make_memories(namespace, 3)
    job = run("move", {"namespace_id": elsewhere.pk})
    make_memories(namespace, 1)
    Memory.objects.filter(namespace=elsewhere, pk=changed.pk).update(importance=5, updated_at=Now())
    Job.objects.filter(pk=job.pk).update(finished_at=Now() + timedelta(minutes=1))
    job.refresh_from_db()
    undo = take_back(job)
    assert (undo.done, undo.failed) == (1, 2)
    assert set(Memory.objects.filter(namespace=elsewhere).values_list("pk", flat=True)) == {again.pk, changed.pk}
    assert Memory.objects.filter(namespace=namespace, pk=plain.pk).exists()
