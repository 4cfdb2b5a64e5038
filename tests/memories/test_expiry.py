"""Expired memories: invisible at once, deleted later."""

import json
import time
from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from memories import expiry, tasks
from memories.models import Embedding, Memory
from memory_site.core.http.pagination import AFTER, encode_cursor
from tests.wire import is_problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def expired(api) -> dict:
    """An embedded memory that has expired, beside one that has not."""
    memory = api.add("The harbour closes at six.", user_id="ada", tags=["a"], metadata={"important": True})
    api.add("The market closes at five.", user_id="ada")
    tasks.embed_due()
    Memory.objects.filter(pk=memory["id"]).update(expires_at=timezone.now())
    return memory


def test_expired_memory_cannot_be_read(api, expired):
    assert is_problem(api.get(f"/memories/{expired['id']}"), 404)


def test_expired_memory_cannot_be_changed(api, expired):
    assert is_problem(api.patch(f"/memories/{expired['id']}", {"importance": 5}), 404)


def test_expired_memory_cannot_be_deleted(api, expired):
    assert is_problem(api.delete(f"/memories/{expired['id']}"), 404)
    answer = api.post("/memories/delete", {"filters": {"user_id": "ada"}, "dry_run": True}).json()
    assert answer["matched"] == 1


@pytest.mark.parametrize("query", ["", "?tags=a", "?important=true", "?user_id=ada", "?ids={id}"])
def test_expired_memory_is_not_listed(api, expired, query):
    listed = api.get(f"/memories{query.format(**expired)}").json()["results"]
    assert expired["id"] not in [memory["id"] for memory in listed]


def test_cursor_of_an_expired_memory_still_works(api, expired):
    cursor = encode_cursor(AFTER, Memory.objects.filter(pk=expired["id"]).values("created_at", "id").get())
    assert api.get(f"/memories?cursor={cursor}").json()["results"] == []


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
@pytest.mark.parametrize("filters", [None, {"user_id": "ada"}, {"tags": ["a"]}])
def test_expired_memory_is_not_found(api, expired, mode, filters):
    hits = api.search("harbour closes at six", mode=mode, filters=filters)["results"]
    assert expired["id"] not in [hit["memory"]["id"] for hit in hits]


def test_expired_memory_is_not_counted(api, expired):
    summary = api.get("/summary").json()
    assert (summary["total_memories"], summary["by_user"]) == (1, {"ada": 1})


def test_ttl_of_two_seconds_expires_after_two_seconds(api):
    other, before = api.add("not soon gone", ttl_seconds=200), timezone.now()
    memory, after = api.add("soon gone", ttl_seconds=2), timezone.now()
    expires = datetime.fromisoformat(memory["expires_at"])
    assert before <= expires - timedelta(seconds=2) <= after
    time.sleep(max(0, (expires - timezone.now()).total_seconds()))
    assert is_problem(api.get(f"/memories/{memory['id']}"), 404)
    assert api.get(f"/memories/{other['id']}").status_code == 200
    assert [hit["memory"]["id"] for hit in api.search("gone", mode="text")["results"]] == [other["id"]]


def test_clean_up_deletes_expired_memories_and_vectors(api, expired):
    assert tasks.delete_expired() == 1
    assert [memory.content for memory in Memory.objects.all()] == ["The market closes at five."]
    assert Embedding.objects.count() == 1
    assert tasks.delete_expired() == 0


def test_clean_up_deletes_in_batches(api, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(expiry, "DELETE_BATCH_SIZE", 4)
    api.post("/memories/bulk", {"memories": [{"content": f"number {number}"} for number in range(10)]})
    Memory.objects.update(expires_at=timezone.now())
    # Where there are any, and the clock; batches of 4, 4, 2 and none: savepoint, bound of waiting, select, who acts,
    # delete, release.
    with django_assert_num_queries(2 + 3 * 6 + 4):
        assert tasks.delete_expired() == 10


def test_clean_up_covers_every_namespace(api, outsider):
    for caller in (api, outsider):
        caller.add("tea")
    Memory.objects.update(expires_at=timezone.now())
    assert tasks.delete_expired() == 2


@pytest.mark.django_db(transaction=True)
def test_expired_memory_does_not_block_its_entity(api):
    entity = {"system": "jira", "id": "OPS-1"}
    old = api.add("The first account of the ticket.", entity=entity)
    Memory.objects.filter(pk=old["id"]).update(expires_at=timezone.now())
    new = api.add("The second account of the ticket.", entity=entity)
    assert new["created"] is True
    assert new["entity"]["id"] == "OPS-1"


@pytest.mark.django_db(transaction=True)
def test_expired_memory_does_not_block_an_update(api):
    old, other = api.add("The ferry runs hourly."), api.add("The ferry runs daily.")
    Memory.objects.filter(pk=old["id"]).update(expires_at=timezone.now())
    response = api.patch(f"/memories/{other['id']}", {"content": "The ferry runs hourly."})
    assert response.status_code == 200, response.content
    assert response.json()["content"] == "The ferry runs hourly."


# The command


@pytest.fixture
def two_namespaces(api, outsider) -> None:
    """Each has an expired memory beside a living one."""
    for caller in (api, outsider):
        caller.add("tea", ttl_seconds=60)
        caller.add("coffee")
    Memory.objects.filter(content="tea").update(expires_at=timezone.now())


def run_command(capsys, *words: str) -> str:
    call_command("delete_expired", *words)
    return capsys.readouterr().out.strip()


def run_refused_command(*words: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command("delete_expired", *words)
    return caught.value


@pytest.mark.parametrize(
    ("words", "said", "left"),
    [
        ((), "2 memories were deleted.", 0),
        (("--dry-run",), "2 memories would be deleted.", 2),
        (("--namespace", "ours"), "1 memories were deleted.", 1),
    ],
)
def test_command_deletes_what_has_expired(two_namespaces, capsys, words, said, left):
    assert run_command(capsys, *words) == said
    assert Memory.objects.filter(content="tea").count() == left
    assert Memory.objects.filter(content="coffee").count() == 2


def test_command_reports_by_namespace_as_json(two_namespaces, capsys):
    rows = [{"namespace": name, "memories": 2, "expired": 1, "deleted": 0} for name in ("ours", "theirs")]
    assert json.loads(run_command(capsys, "--dry-run", "--format", "json")) == rows
    lines = run_command(capsys, "--format", "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == [row | {"deleted": 1} for row in rows]
    assert json.loads(run_command(capsys, "--format", "json")) == []


def test_command_shows_progress_and_can_be_interrupted(two_namespaces, capsys, monkeypatch):
    monkeypatch.setattr(expiry, "DELETE_BATCH_SIZE", 1)
    delete, calls = expiry.delete_batch, []

    def interrupt_second(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return delete(*arguments)

    monkeypatch.setattr(expiry, "delete_batch", interrupt_second)
    error = run_refused_command()
    assert (error.returncode, str(error)) == (130, "Stopped: 1 of 2 memories are done. Run it again to continue.")
    assert Memory.objects.filter(content="tea").count() == 1
    assert run_command(capsys) == "1 memories were deleted."


def test_unknown_namespace_is_a_usage_error(two_namespaces):
    assert run_refused_command("--namespace", "nowhere").returncode == 2
    assert Memory.objects.filter(content="tea").count() == 2


@pytest.mark.parametrize(("limit", "floor"), [(1, 100), (100, 0)], ids=["many rows", "a fifth of the namespace"])
def test_command_asks_before_it_deletes_much(api, two_namespaces, capsys, monkeypatch, limit, floor):
    monkeypatch.setattr(expiry, "MAX_UNASKED", limit)
    monkeypatch.setattr(expiry, "MIN_ASKED", floor)
    api.add("milk", ttl_seconds=60)
    Memory.objects.filter(content="milk").update(expires_at=timezone.now())
    error = run_refused_command()
    assert (error.returncode, "--yes-delete 3" in str(error)) == (2, True)
    assert "Much has expired: 2 of 3 in ours" in capsys.readouterr().err
    assert run_refused_command("--yes-delete", "2").returncode == 1
    assert Memory.objects.expired().count() == 3
    assert run_command(capsys, "--dry-run") == "3 memories would be deleted."
    assert run_command(capsys, "--yes-delete", "3") == "3 memories were deleted."


def test_tasks_never_ask(two_namespaces, monkeypatch):
    monkeypatch.setattr(expiry, "MAX_UNASKED", 0)
    assert tasks.delete_expired() == 2


@pytest.mark.parametrize("offset", [-301.0, 301.0])
def test_nothing_is_deleted_while_the_clocks_disagree(two_namespaces, monkeypatch, offset):
    """One of the two is wrong, and it may be the database's, by which memories expire."""
    monkeypatch.setattr(expiry, "measure_clock_offset", lambda: offset)
    with pytest.raises(expiry.ClocksDiffer, match="301 s"):
        tasks.delete_expired()
    error = run_refused_command()
    assert (error.returncode, "301 s" in str(error)) == (1, True)
    assert Memory.objects.filter(content="tea").count() == 2
    monkeypatch.setattr(expiry, "measure_clock_offset", lambda: offset * 0.99)
    assert tasks.delete_expired() == 2


@pytest.mark.django_db(transaction=True)
def test_rows_that_someone_holds_are_left_for_the_next_run(api, two_namespaces, capsys):
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT FROM memories_memory WHERE content = 'tea' LIMIT 1 FOR UPDATE")
            said = run_command(capsys)
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert said == "1 memories were deleted, 1 are in use, or expired meanwhile, and left for the next run."
    assert tasks.delete_expired() == 1
