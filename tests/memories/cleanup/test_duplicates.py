"""Near duplicates of a namespace: found by a job, merged by another one, and taken back."""

import json

import pytest
from django.core.management import call_command

from memories import tasks
from memories.cleanup import actions as cleanup_actions
from memories.cleanup.grouping import find_duplicates
from memories.cleanup.inspect import inspect, select_outdated
from memories.cleanup.models import Duplicate, Inspection
from memories.jobs.create import create_job
from memories.jobs.run import run_job
from memories.jobs.undo import create_undo
from memories.models import Memory
from memories.search.filters import Filters
from memories.search.selection import Selection
from memories.states import EVERY_STATE

pytestmark = pytest.mark.django_db
OLD = "The harbour office opens at nine on weekdays."
COPY = "the harbour office opens at nine on weekdays"
LONGER = "The harbour office opens at nine on weekdays. Ring the bell twice."
CORRECTION = "The harbour office opens at ten on weekdays."


def run(job) -> dict:
    for _ in run_job(job):
        pass
    job.refresh_from_db()
    assert job.state == "finished", job.message
    return job.result


def look(namespace) -> dict:
    selection = Selection(namespace.pk, Filters(states=list(EVERY_STATE)))
    return run(create_job(namespace.pk, "inspect", {}, selection, "console:admin"))


def list_pairs() -> set[tuple[str, str]]:
    contents = dict(Memory.objects.values_list("pk", "content"))
    rows = Duplicate.objects.filter(dismissed=False).values_list("memory_id", "winner_id")
    return {(contents[memory], contents[winner]) for memory, winner in rows}


def test_copies_are_found_and_corrections_are_not(api, namespace):
    for text in (OLD, COPY, LONGER, CORRECTION, "Something else is here."):
        api.add(text, user_id="ada")
    assert look(namespace) == {"duplicates": 2, "secrets": 0}
    assert list_pairs() == {(OLD, LONGER), (COPY, LONGER)}


@pytest.mark.parametrize(
    "difference",
    [
        {"user_id": "ben"},
        {"user_id": "ada", "memory_type": "project"},
        {"user_id": "ada", "repo_id": "site"},
        {"user_id": "ada", "metadata": {"role": "assistant"}},
        {"user_id": "ada", "entity": {"system": "jira", "id": "OPS-1"}},
    ],
    ids=str,
)
def test_only_what_can_replace_each_other_is_compared(api, namespace, difference):
    api.add(OLD, user_id="ada")
    api.add(COPY, **difference)
    assert look(namespace)["duplicates"] == 0


def test_chunks_of_documents_are_left_out(api, namespace):
    api.add(OLD)
    api.add(COPY)
    Memory.objects.update(document_id=None)
    look(namespace)
    assert Duplicate.objects.count() == 1
    assert Inspection.objects.filter(bands=None).count() == 0


def test_other_namespaces_are_not_compared(api, namespace, outsider):
    api.add(OLD)
    outsider.add(COPY)
    assert look(namespace)["duplicates"] == 0


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ({"importance": 5}, {}, 0),
        ({}, {"importance": 5}, 1),
        ({}, {"tags": ["newer"]}, 1),
    ],
    ids=["first is important", "second is important", "newer"],
)
def test_of_equally_long_texts_the_more_important_or_newer_wins(api, namespace, first, second, winner):
    texts = ("Deploys run from the main branch.", "deploys run from the MAIN branch.")
    for text, fields in zip(texts, (first, second), strict=True):
        api.add(text, **fields)
    look(namespace)
    assert list_pairs() == {(texts[1 - winner], texts[winner])}


def test_only_changed_memories_are_looked_at_again(api, namespace):
    first = api.add(OLD)
    api.add("Something else is here.")
    look(namespace)
    outdated = select_outdated(Memory.objects.all())
    assert not outdated.exists()
    api.post(f"/memories/{first['id']}/recall")
    assert not outdated.exists()
    api.patch(f"/memories/{first['id']}", {"content": LONGER})
    assert [str(memory.pk) for memory in outdated] == [first["id"]]


def test_texts_of_one_template_are_compared_a_few_times_each(api, namespace, monkeypatch):
    """Builds differ by their numbers."""
    texts = [
        {"content": f"Build number {number} of the shop failed in the step integration tests."} for number in range(300)
    ]
    api.post("/memories/bulk", {"memories": texts})
    ids = list(Memory.objects.values_list("pk", flat=True))
    inspect(namespace.pk, ids)
    compared = []
    monkeypatch.setattr("memories.cleanup.grouping.compare", lambda one, other: compared.append(1) or 0.0)
    assert find_duplicates(namespace.pk) == 0
    assert 0 < len(compared) < 300 * 21 * 6 / 2


def merge(namespace):
    ids = list(Duplicate.objects.filter(dismissed=False).values_list("memory_id", flat=True))
    job = create_job(namespace.pk, "merge_duplicates", {}, Selection(namespace.pk, Filters(ids=ids)), "console:admin")
    run(job)
    return job


def test_merging_supersedes_the_copy_and_unites_tags(api, namespace):
    old, longer = api.add(OLD, tags=["port", "hours"], importance=5), api.add(LONGER, tags=["hours", "bell"])
    tasks.embed_due()
    look(namespace)
    job = merge(namespace)
    assert (job.done, job.failed) == (1, 0)
    winner = api.get(f"/memories/{longer['id']}").json()
    assert (winner["tags"], winner["importance"], winner["content"]) == (["hours", "bell", "port"], 5, LONGER)
    loser = api.get(f"/memories/{old['id']}").json()
    assert (loser["state"], loser["superseded_by"], loser["content"]) == ("superseded", longer["id"], OLD)


def test_a_merge_is_taken_back(api, namespace):
    old, longer = api.add(OLD, tags=["port"], importance=5), api.add(LONGER, tags=["bell"])
    look(namespace)
    run(create_undo(merge(namespace), "console:admin"))
    loser, winner = (api.get(f"/memories/{memory['id']}").json() for memory in (old, longer))
    assert (loser["state"], loser["superseded_by"]) == ("active", None)
    assert (winner["tags"], winner["importance"]) == (["bell"], 3)


def test_what_has_changed_since_is_not_merged(api, namespace):
    old, _ = api.add(OLD), api.add(LONGER)
    look(namespace)
    api.patch(f"/memories/{old['id']}", {"content": CORRECTION})
    job = merge(namespace)
    assert (job.done, job.failed) == (0, 1)
    assert job.log == [{"id": old["id"], "reason": cleanup_actions.NO_LONGER_ALIKE}]
    assert api.get(f"/memories/{old['id']}").json()["state"] == "active"


def test_a_winner_that_is_gone_replaces_nothing(api, namespace):
    old, longer = api.add(OLD), api.add(LONGER)
    look(namespace)
    api.delete(f"/memories/{longer['id']}")
    assert merge(namespace).failed == 1
    assert api.get(f"/memories/{old['id']}").json()["state"] == "active"


def test_dismissed_pairs_are_not_found_again(api, namespace):
    api.add(OLD)
    api.add(LONGER)
    look(namespace)
    Duplicate.objects.update(dismissed=True)
    assert look(namespace)["duplicates"] == 0
    assert Duplicate.objects.filter(dismissed=True).count() == 1


def test_secrets_are_kept_by_kind_and_not_by_text(api, namespace):
    api.add("The bucket needs AKIA" + "IOSFODNN7QWERTYU.")
    api.add("Nothing here.", data={"dsn": "postgres://shop:" + "hunter2!" + "@db/shop"})
    assert look(namespace)["secrets"] == 2
    kinds = {tuple(kinds) for kinds in Inspection.objects.values_list("secrets", flat=True)}
    assert kinds == {("AWS key",), ("password in a URL",)}


def run_command(capsys, *words: str) -> list[dict]:
    call_command("clean_up", *words, "--namespace", "ours", "--format", "json")
    return json.loads(capsys.readouterr().out)


def test_command_looks_counts_and_lists(api, namespace, capsys):
    old, longer = api.add(OLD, user_id="ada"), api.add(LONGER, user_id="ada")
    assert {row["rule"]: row["memories"] for row in run_command(capsys)}["duplicate"] == 0
    assert {row["rule"]: row["memories"] for row in run_command(capsys, "--look")}["duplicate"] == 1
    [row] = run_command(capsys, "duplicate")
    assert (row["id"], row["replaced_by"], row["content"]) == (old["id"], longer["id"], OLD)


def test_command_shows_no_secret(api, namespace, capsys):
    secret = "AKIA" + "IOSFODNN7QWERTYU"
    api.add(f"The bucket needs {secret} here.")
    [row] = run_command(capsys, "secret", "--look")
    assert row["content"] == "The bucket needs AKIA… (20 characters) here."
