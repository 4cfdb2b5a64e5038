"""Deletion of outdated memories."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from memories import seen
from memories.knowledge import retention, tasks
from memories.models import Memory
from memories.seen import mark_seen, seen_memories
from sessions_app.models import Namespace
from tests.console import fetch_page_text
from tests.wire import fingerprint_tables, is_problem

pytestmark = pytest.mark.django_db
LONG_AGO = datetime.now(UTC) - timedelta(days=91)
NOT_SO_LONG_AGO = datetime.now(UTC) - timedelta(days=89)
OUTDATED_NAMES = {"plain", "trivial", "used twice", "not important", "of ada"}
MEMORY_FIELDS = {
    "plain": {},
    "trivial": {"importance": 1},
    "used twice": {"access_count": 2, "last_accessed_at": LONG_AGO},
    "not important": {"metadata": {"important": False}},
    "of ada": {"user_id": "ada"},
    "medium": {"importance": 3},
    "used three times": {"access_count": 3, "last_accessed_at": LONG_AGO},
    "used lately": {"access_count": 1, "last_accessed_at": NOT_SO_LONG_AGO},
    "found lately": {"last_seen_at": NOT_SO_LONG_AGO},
    "changed lately": {"updated_at": NOT_SO_LONG_AGO},
    "preserved": {"tags": ["x", "preserve"]},
    "important by tag": {"tags": ["important"]},
    "important": {"metadata": {"important": True}},
}
LONG_UNSEEN = {"created_at": LONG_AGO, "updated_at": LONG_AGO, "last_seen_at": LONG_AGO}


@pytest.fixture
def old(api, namespace, elsewhere) -> None:
    usual = {"importance": 2, "source_system": "test", **LONG_UNSEEN}
    Memory.objects.bulk_create(
        Memory(namespace=namespace, content=name, **usual | each) for name, each in MEMORY_FIELDS.items()
    )
    Memory.objects.create(namespace=elsewhere, content="elsewhere", **usual)


def load_contents() -> set[str]:
    return set(Memory.objects.values_list("content", flat=True))


def forget_outdated_memories(api, dry_run: bool) -> dict:
    response = api.post("/memories/forget-outdated", {"dry_run": dry_run})
    assert response.status_code == 200, response.content
    return response.json()


def test_outdated_memories_are_deleted_and_others_stay(api, old):
    assert forget_outdated_memories(api, False) == {"matched": len(OUTDATED_NAMES), "deleted": len(OUTDATED_NAMES)}
    assert load_contents() == MEMORY_FIELDS.keys() - OUTDATED_NAMES | {"elsewhere"}
    assert forget_outdated_memories(api, False) == {"matched": 0, "deleted": 0}


def test_a_dry_run_only_counts(api, old, capsys):
    before = fingerprint_tables()
    assert forget_outdated_memories(api, True) == {"matched": len(OUTDATED_NAMES), "deleted": 0}
    call_command("forget_outdated", "--dry-run")
    assert f"{len(OUTDATED_NAMES) + 1} memories would be forgotten" in capsys.readouterr().err
    assert fingerprint_tables() == before


def test_a_dry_run_lists_what_goes_and_what_of_it_tonight(old, namespace, elsewhere, capsys):
    Namespace.objects.filter(pk=elsewhere.pk).update(forgets_outdated=True)
    call_command("forget_outdated", "--dry-run", "--format", "jsonl")
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["content"]: row["tonight"] for row in rows} == dict.fromkeys(OUTDATED_NAMES, False) | {
        "elsewhere": True
    }
    assert {row["namespace"] for row in rows} == {"ours", "elsewhere"}
    assert err == f"{len(OUTDATED_NAMES) + 1} memories would be forgotten; the nightly task forgets 1.\n"
    call_command("forget_outdated", "--dry-run", "--format", "jsonl", "--limit", "2")
    assert len(capsys.readouterr().out.splitlines()) == 2
    call_command("forget_outdated", "--dry-run", "--namespace", "elsewhere", "--format", "json")
    assert [row["content"] for row in json.loads(capsys.readouterr().out)] == ["elsewhere"]


def test_the_api_lists_what_is_outdated(api, reader, old):
    page = reader.get("/memories/forget-outdated?limit=3").json()
    rest = reader.get(f"/memories/forget-outdated?limit=3&cursor={page['next']}").json()
    assert {each["content"] for each in page["results"] + rest["results"]} == OUTDATED_NAMES
    assert page["nightly"] is rest["nightly"] is False


def test_what_was_forgotten_is_in_the_log(api, old, namespace, caplog):
    gone = Memory.objects.in_namespace(namespace.pk).outdated().values_list("pk", flat=True)
    ids = {str(pk) for pk in gone}
    with caplog.at_level("INFO"):
        forget_outdated_memories(api, False)
    [line] = [each.getMessage() for each in caplog.records if "Forgot" in each.getMessage()]
    assert line.startswith(f"Forgot in namespace {namespace.pk}: ")
    assert set(line.partition(": ")[2].split()) == ids


def test_history_that_was_just_stored_is_not_outdated(api):
    long_ago = "2019-03-01T09:00:00Z"
    api.add("A harbour of long ago.", importance=1, created_at=long_ago)
    memories = [{"content": f"Berth {n} of long ago.", "importance": 2, "created_at": long_ago} for n in range(3)]
    assert api.post("/memories/bulk", {"memories": memories}).status_code == 201
    assert forget_outdated_memories(api, True)["matched"] == 0


def test_imported_history_is_not_outdated(api, old, namespace, tmp_path):
    file = tmp_path / "export.jsonl"
    call_command("export_memories", file, "--namespace", "ours")
    assert "last_seen_at" not in file.read_text()
    Namespace.objects.create(name="theirs")
    call_command("import_memories", file, "--namespace", "theirs")
    assert not Memory.objects.filter(namespace__name="theirs").outdated().exists()


def test_storing_a_memory_again_counts(api, old):
    api.add("plain", importance=2, source_system="test")
    assert forget_outdated_memories(api, True)["matched"] == len(OUTDATED_NAMES) - 1


SEARCHES = {
    "search": ("/memories/search", {"query": "plain", "mode": "text"}),
    "recall": ("/memories/recall", {"query": "plain", "mode": "text"}),
    "unified": ("/search", {"query": "plain"}),
    "context": ("/context", {"query": "plain"}),
    "insights": ("/insights/search", {"query": "*"}),
}


@pytest.mark.parametrize("path, body", SEARCHES.values(), ids=SEARCHES)
def test_a_hit_of_any_search_counts_as_seen(api, path, body):
    memory_type = "insight" if "insights" in path else "agent"
    added = api.add("A plain fact about the harbour.", importance=2, memory_type=memory_type)
    Memory.objects.update(**LONG_UNSEEN)
    assert forget_outdated_memories(api, True)["matched"] == 1
    assert api.post(path, body).status_code == 200
    seen_memories.flush()
    assert forget_outdated_memories(api, True)["matched"] == 0
    memory = Memory.objects.get(pk=added["id"])
    assert memory.updated_at == LONG_AGO  # a search changes nothing that a caller can see


def test_the_entity_that_a_query_names_counts_as_seen(api):
    entity = {"system": "jira", "id": "HARBOUR-7"}
    api.add("The crane is broken.", importance=2, user_id="ada", entity=entity)
    Memory.objects.update(**LONG_UNSEEN)
    assert api.post("/users/ada/retrieve", {"query": "HARBOUR-7"}).json()["results"]
    seen_memories.flush()
    assert forget_outdated_memories(api, True)["matched"] == 0


def test_the_search_command_counts_as_seen(old):
    call_command("search", "plain", "--namespace", "ours", "--mode", "text")
    assert not Memory.objects.outdated().filter(content="plain").exists()


def test_a_plain_search_changes_no_use(api, old):
    before = Memory.objects.values("access_count", "last_accessed_at", "updated_at").get(content="plain")
    shown = api.search("plain", mode="text")["results"][0]["memory"]
    seen_memories.flush()
    assert Memory.objects.values("access_count", "last_accessed_at", "updated_at").get(content="plain") == before
    assert api.get(f"/memories/{shown['id']}").json() == shown


def test_a_search_takes_no_statement_more_and_a_flush_one(takes, api, old):
    api.search("plain", mode="text")
    with takes(1):
        api.search("plain", mode="text")
    with takes(1):
        seen_memories.flush()
    with takes(0):
        seen_memories.flush()


def test_a_memory_is_marked_at_most_once_a_day(api, old):
    memory = Memory.objects.get(content="found lately")
    this_morning = datetime.now(UTC) - timedelta(hours=23)
    Memory.objects.filter(pk=memory.pk).update(last_seen_at=this_morning)
    mark_seen(memory.namespace_id, [memory.pk])
    assert Memory.objects.get(pk=memory.pk).last_seen_at == this_morning


def test_a_flush_that_fails_is_only_logged(api, old, monkeypatch, caplog):
    api.search("plain", mode="text")
    monkeypatch.setattr(seen, "MARK_SEEN_SQL", "SELECT this_function_is_missing(%(namespace)s)")
    with transaction.atomic():
        seen_memories.flush()
        transaction.set_rollback(True)
    assert "was not stored" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_flush_waits_for_no_lock(api, namespace):
    locked, free = (api.add(f"Berth {n} of the harbour.", importance=2)["id"] for n in range(2))
    Memory.objects.update(**LONG_UNSEEN)
    with transaction.atomic():
        Memory.objects.select_for_update().get(pk=locked)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(mark_and_close, namespace.pk, [UUID(locked), UUID(free)]).result(timeout=60)
    assert Memory.objects.get(pk=free).last_seen_at > LONG_AGO
    assert Memory.objects.get(pk=locked).last_seen_at == LONG_AGO


def mark_and_close(namespace_id: int, ids: list[UUID]) -> None:
    try:
        mark_seen(namespace_id, ids)
    finally:
        connection.close()


def test_a_used_insight_stays(api):
    texts = ["A harbour is as deep as its shallowest berth.", "Tides are turned by the moon, and not by us."]
    used, _ = [api.add(text, memory_type="insight", importance=1)["id"] for text in texts]
    Memory.objects.update(**LONG_UNSEEN)
    assert api.post(f"/insights/{used}/use").status_code == 200
    assert forget_outdated_memories(api, False)["deleted"] == 1
    assert load_contents() == {texts[0]}


def test_the_command_processes_one_namespace_or_all(old, capsys):
    call_command("forget_outdated", "--namespace", "elsewhere")
    assert capsys.readouterr().out == "1 memories were forgotten.\n"
    assert load_contents() == set(MEMORY_FIELDS)
    call_command("forget_outdated")
    assert capsys.readouterr().out == f"{len(OUTDATED_NAMES)} memories were forgotten.\n"
    assert load_contents() == MEMORY_FIELDS.keys() - OUTDATED_NAMES


def test_an_unknown_namespace_is_a_usage_error(old):
    with pytest.raises(CommandError, match="There is no namespace 'nowhere'"):
        call_command("forget_outdated", "--namespace", "nowhere")


def test_the_nightly_task_deletes_in_batches(old, monkeypatch, django_assert_num_queries):
    Namespace.objects.update(forgets_outdated=True)
    monkeypatch.setattr(retention, "OUTDATED_BATCH_SIZE", 3)
    # Which namespaces; two batches in ours and one elsewhere: ids, savepoint, bound of waiting, lock, who acts, delete,
    # release; a look in each that finds no more.
    with django_assert_num_queries(1 + 3 * 7 + 2):
        assert tasks.forget_outdated() == len(OUTDATED_NAMES) + 1
    assert tasks.forget_outdated() == 0


def test_the_nightly_task_spares_namespaces_that_have_not_switched_it_on(api, old):
    assert tasks.forget_outdated() == 0
    call_command("forget_outdated", "--namespace", "elsewhere", "--nightly", "on")
    assert tasks.forget_outdated() == 1
    assert load_contents() == set(MEMORY_FIELDS)
    assert api.call("PUT", "/memories/forget-outdated", {"nightly": True}).json() == {"nightly": True}
    assert api.get("/memories/forget-outdated").json()["nightly"] is True
    assert tasks.forget_outdated() == len(OUTDATED_NAMES)


def test_the_nightly_task_can_be_switched_off(api, old, capsys):
    Namespace.objects.update(forgets_outdated=True)
    call_command("forget_outdated", "--namespace", "elsewhere", "--nightly", "off")
    assert capsys.readouterr().out == "Outdated memories of elsewhere are not deleted by themselves.\n"
    assert api.call("PUT", "/memories/forget-outdated", {"nightly": False}).status_code == 200
    assert tasks.forget_outdated() == 0


def test_a_switch_for_all_namespaces_is_a_usage_error(old):
    with pytest.raises(CommandError, match="--nightly needs --namespace"):
        call_command("forget_outdated", "--nightly", "on")


def test_the_console_switches_the_nightly_task(console, namespace):
    url = f"/admin/sessions_app/namespace/{namespace.pk}/change/"
    page = fetch_page_text(console, url)
    assert "forget every night" in page.lower()
    assert "`" not in re.search(r"Delete outdated memories[^<]*", page)[0]
    assert console.post(url, {"name": "ours", "forgets_outdated": "on"}).status_code == 302
    assert Namespace.objects.get(pk=namespace.pk).forgets_outdated is True


def test_the_console_lists_the_nightly_task_as_on_or_off(console, namespace, elsewhere):
    Namespace.objects.filter(pk=elsewhere.pk).update(forgets_outdated=True)
    page = fetch_page_text(console, "/admin/sessions_app/namespace/")
    cells = re.findall(r"<td[^>]*field-nightly_forgetting[^>]*>\s*(\w+)", page)
    assert cells == ["on", "off"]  # of elsewhere and ours, by name


def test_a_memory_used_during_the_deletion_stays(old, namespace):
    outdated = Memory.objects.in_namespace(namespace.pk).outdated()
    keys = list(outdated.values_list("pk", flat=True))
    Memory.objects.filter(pk=keys[0]).update(last_accessed_at=datetime.now(UTC))
    assert retention.delete_batch(namespace.pk, outdated.filter(pk__in=keys)) == len(keys) - 1


def test_an_expired_memory_is_not_counted(api, old):
    Memory.objects.filter(content="plain").update(expires_at=LONG_AGO)
    assert forget_outdated_memories(api, True)["matched"] == len(OUTDATED_NAMES) - 1


def test_a_reader_may_not_delete_outdated_memories(reader):
    assert is_problem(reader.call("PUT", "/memories/forget-outdated", {"nightly": True}), 403)
    assert is_problem(reader.post("/memories/forget-outdated", {"dry_run": True}), 403)
