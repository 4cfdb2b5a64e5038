"""`manage.py jobs` shows the rows that the console and the API show, cancels them and takes them back."""

import json

import pytest
from django.core.management import CommandError, call_command

from memories.jobs import tasks
from memories.jobs.models import Job
from memories.models import Memory
from tests.memories.jobs.conftest import make_memories
from tests.memories.jobs.test_run import create

pytestmark = pytest.mark.django_db


def run_jobs(capsys, *words: str) -> str:
    call_command("jobs", *words, "--namespace", "ours")
    return capsys.readouterr().out


def test_jobs_are_listed_and_shown(capsys, namespace, run):
    make_memories(namespace, 1, user_id="bob")
    make_memories(namespace, 2, user_id="ada")
    job = run("set_user", {"user_id": "bob"}, user_id="ada")
    assert "Give 2 memories to the user “bob”" in run_jobs(capsys)
    assert "Another memory has the same content" in run_jobs(capsys, "show", str(job.pk))
    [row] = json.loads(run_jobs(capsys, "show", str(job.pk), "--format", "json"))
    assert (row["done"], row["failed"], row["can_undo"]) == (1, 1, True)
    assert json.loads(run_jobs(capsys, "list", "--format", "jsonl"))["left"] == 1


def test_a_job_is_cancelled_and_taken_back(capsys, namespace, run):
    make_memories(namespace, 2)
    waiting = create(namespace, "tag", {"tags": ["a"]})
    assert "cancelled" in run_jobs(capsys, "cancel", str(waiting.pk))
    with pytest.raises(CommandError, match="has ended"):
        run_jobs(capsys, "cancel", str(waiting.pk))
    job = run("delete")
    assert "Take back" in run_jobs(capsys, "undo", str(job.pk))
    assert Job.objects.get(undo_of=job.pk).created_by == "command:jobs"
    tasks.run_jobs()
    assert Memory.objects.count() == 2
    with pytest.raises(CommandError, match="taken back already"):
        run_jobs(capsys, "undo", str(job.pk))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show",), "Its id is missing"),
        (("show", "x"), "is not the id of a job"),
        (("undo", "01980000-0000-7000-8000-000000000001"), "no such job"),
    ],
    ids=["missing", "no id", "unknown"],
)
def test_a_wrong_id_is_one_clear_sentence(namespace, words, message):
    with pytest.raises(CommandError, match=message):
        call_command("jobs", *words, "--namespace", "ours")
