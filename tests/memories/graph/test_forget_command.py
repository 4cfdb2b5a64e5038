"""`manage.py forget` counts, asks, and deletes only what was selected."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from ingestion.models import Document
from memories.graph.models import Erasure, Relationship
from memories.jobs.models import Job
from memories.jobs.run import run_to_end
from memories.jobs.undo import create_undo
from memories.models import Memory
from sessions_app.models import ApiKey, Conversation, Namespace, SessionMemory

pytestmark = pytest.mark.django_db
NAMESPACE_OPTION = ("--namespace", "ours")


def run_forget(*words: object) -> None:
    call_command("forget", *NAMESPACE_OPTION, *map(str, words))


def run_refused_command(*words: object) -> tuple[str, int]:
    with pytest.raises(CommandError) as caught:
        run_forget(*words)
    return str(caught.value), caught.value.returncode


def load_contents() -> set[str]:
    return set(Memory.objects.values_list("content", flat=True))


@pytest.fixture
def some(api, outsider) -> None:
    api.add("ada's tea", user_id="ada")
    api.add("ada's step", user_id="ada", memory_type="temporary_state")
    api.add("ben's step", user_id="ben", memory_type="temporary_state")
    api.add("old", created_at=(timezone.now() - timedelta(days=100)).isoformat())
    api.add("old and dear", tags=["preserve"], created_at=(timezone.now() - timedelta(days=100)).isoformat())
    api.post("/sessions/s/interactions", {"query": "why?", "answer": "because"})
    api.post("/conversations", {"user_id": "ada"})
    api.post("/documents", {"content": "a posted text", "title": "text"})
    outsider.add("theirs", user_id="ada")


@pytest.mark.parametrize(
    ("options", "deleted"),
    [
        (("--type", "temporary_state"), {"ada's step", "ben's step"}),
        (("--type", "temporary_state", "--user", "ada"), {"ada's step"}),
        (("--older-than", "90d"), {"old"}),
        (("--older-than", "2400h"), {"old"}),
        (("--older-than", "15w"), set()),
        (("--user", "ada"), {"ada's tea", "ada's step"}),
        (("--memories",), {"ada's tea", "ada's step", "ben's step", "old", "old and dear", "a posted text"}),
    ],
)
def test_selected_memories_are_deleted_and_others_stay(some, capsys, options, deleted):
    before = load_contents()
    run_forget(*options, "--dry-run")
    assert load_contents() == before
    output = capsys.readouterr().out
    if not deleted:
        assert output == "There is nothing to delete.\n"
        return
    rows = int(output.splitlines()[-1].split()[0])
    run_forget(*options, "--yes-delete", rows)
    assert before - load_contents() == deleted


def test_everything_leaves_the_namespace_and_its_keys(some, api):
    first, second = Memory.objects.filter(user_id="ada", namespace__name="ours").values_list("pk", flat=True)
    api.post(f"/memories/{first}/relationships", {"to_id": str(second), "type": "led_to"})
    message, _ = run_refused_command("--everything")
    rows = int(message.removeprefix("There is no terminal to ask on. Use --yes-delete ").rstrip("."))
    run_forget("--everything", "--yes-delete", rows)
    assert load_contents() == {"theirs"}
    for model in (SessionMemory, Conversation, Document, Relationship):
        assert not model.objects.filter(namespace__name="ours").exists()
    assert ApiKey.objects.filter(namespace__name="ours").exists()
    assert api.add("a new beginning")["created"] is True


def test_a_user_is_erased_with_an_audit_line(some):
    message, _ = run_refused_command("--user", "ada", "--yes-delete", 2)
    assert message == "3 rows match, not 2. Nothing was deleted."
    run_forget("--user", "ada", "--yes-delete", 3)
    assert Erasure.objects.get().requested_by == "command line"
    assert not Conversation.objects.exists()


def test_without_a_terminal_the_command_does_not_ask(some):
    message, code = run_refused_command("--type", "temporary_state")
    assert (message, code) == ("There is no terminal to ask on. Use --yes-delete 2.", 2)
    assert "ada's step" in load_contents()


@pytest.mark.parametrize("option", ["--memories", "--everything"])
def test_all_namespaces_are_wiped_together_and_keep_their_keys(some, option, capsys):
    run_forget(option, "--all-namespaces", "--dry-run")
    *counts, last = capsys.readouterr().out.splitlines()
    assert {line.split(maxsplit=1)[1] for line in counts} >= {"memories in ours", "memories in theirs"}
    rows = int(last.split()[0].replace(",", ""))
    before = load_contents()
    assert run_refused_command(option, "--all-namespaces", "--yes-delete", rows - 1)[1] == 1
    assert load_contents() == before
    run_forget(option, "--all-namespaces", "--yes-delete", rows)
    assert not Memory.objects.exists()
    assert SessionMemory.objects.exists() is (option == "--memories")
    assert (Namespace.objects.count(), ApiKey.objects.count()) == (2, 2)


@pytest.mark.parametrize(("answer", "is_deleted"), [("ours", True), ("yes", False), ("", False)])
def test_on_a_terminal_the_name_of_the_namespace_confirms(some, monkeypatch, answer, is_deleted):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    if is_deleted:
        run_forget("--type", "temporary_state")
    else:
        assert run_refused_command("--type", "temporary_state") == ("Nothing was deleted.", 1)
    assert ("ada's step" not in load_contents()) is is_deleted


@pytest.mark.parametrize("error", [EOFError, KeyboardInterrupt])
def test_an_aborted_prompt_deletes_nothing(some, monkeypatch, error):
    def abort(question: str) -> str:
        raise error

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", abort)
    assert run_refused_command("--type", "temporary_state") == ("Nothing was deleted.", 1)
    assert "ada's step" in load_contents()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--everything", "--user", "ada"),
        ("--everything", "--memories"),
        ("--all-namespaces",),
        ("--all-namespaces", "--user", "ada"),
        ("--older-than", "soon"),
        ("--older-than=-1d",),
        ("--older-than", "1"),
        ("--older-than", "9999999d"),
    ],
)
def test_options_that_exclude_each_other_or_select_nothing_are_refused(some, words):
    before = load_contents()
    message, code = run_refused_command(*words, "--yes-delete", 1)
    assert (message.endswith("."), code, load_contents()) == (True, 2, before)


def test_another_namespace_must_exist(some):
    with pytest.raises(CommandError, match="There is no namespace 'nowhere'"):
        call_command("forget", "--namespace", "nowhere", "--everything")
    assert Namespace.objects.count() == 2


def test_deleted_memories_are_a_job_that_can_be_undone(api, namespace):
    """Memories of every state go, and expired ones, which nothing brings back."""
    first, second, gone = (api.add(text)["id"] for text in ("one", "two", "three"))
    Memory.objects.filter(pk=first).update(state="superseded", superseded_by=second)
    Memory.objects.filter(pk=gone).update(expires_at="2020-01-01T00:00Z")
    run_forget("--memories", "--yes-delete", 3)
    assert not Memory.objects.exists()
    job = Job.objects.get()
    assert (job.action, job.state, job.done, job.created_by) == ("delete", "finished", 2, "command:forget")
    run_to_end(create_undo(job, "command:jobs"))
    assert {str(pk) for pk in Memory.objects.values_list("pk", flat=True)} == {first, second}
