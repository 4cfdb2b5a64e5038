"""Many callers of one key at once: one memory, whatever the order, and no answer but those of the contract."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from ingestion.transfer.importer import NamespaceImport, parse_line
from ingestion.transfer.line_schemas import ExportHeader
from memories.history.models import DeletedPart
from memories.insights.models import Insight
from memories.models import Embedding, Memory
from memory_site.operations.selftest.scratch_site import wait_until
from tests.wire import is_lock_awaited, is_problem, run_at_once

pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = "/memories/by-key/notes/harbour?user_id=ada"
THREADS = 8


def put(api, content: str, **fields):
    return api.call("PUT", ADDRESS, {"content": content, **fields})


def test_eight_callers_make_one_memory(api):
    answers = run_at_once([partial(put, api, f"Version {number}.") for number in range(THREADS)])
    assert sorted(answer.status_code for answer in answers) == [200] * (THREADS - 1) + [201]
    [stored] = Memory.objects.all()
    assert {answer.json()["id"] for answer in answers} == {str(stored.pk)}
    assert stored.content in {f"Version {number}." for number in range(THREADS)}


@pytest.mark.parametrize("fields", [{}, {"key": "notes/harbour"}])
def test_the_same_request_sent_again_while_it_runs_is_no_conflict(api, fields):
    for _ in range(5):
        body = {"content": f"Tide {uuid4()}.", "id": str(uuid4()), **fields}
        answers = run_at_once([partial(api.post, "/memories", body)] * THREADS)
        assert sorted(answer.status_code for answer in answers) == [200] * (THREADS - 1) + [201]
        assert {answer.json()["id"] for answer in answers} == {body["id"]}
        Memory.objects.all().delete()


def test_put_post_bulk_and_delete_of_one_key_at_once(api):
    entry = {"content": "Posted.", "key": "notes/harbour", "user_id": "ada"}
    other = {"content": "Another.", "key": "notes/pier", "user_id": "ada"}
    for _ in range(5):
        answers = run_at_once(
            [
                partial(put, api, "Put."),
                partial(api.delete, ADDRESS),
                partial(api.post, "/memories", entry),
                partial(api.post, "/memories/bulk", {"memories": [entry, other]}),
                partial(api.post, "/memories/bulk", {"memories": [other, entry]}),
                partial(put, api, "Put again."),
                partial(api.delete, ADDRESS),
                partial(api.get, ADDRESS),
            ]
        )
        assert {answer.status_code for answer in answers} <= {200, 201, 204, 404}
        assert Memory.objects.filter(key="notes/harbour").count() <= 1
        assert Memory.objects.filter(key="notes/pier").count() == 1


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="-".join)
def test_vectors_are_stored_in_the_order_in_which_bulks_replace(api, namespace, order):
    """While one waits for the first memory it holds none of those that a bulk replaces after that."""
    for key in order:
        api.post("/memories", {"content": f"Tide {key}.", "key": key})
    memories = {memory.key: memory for memory in Memory.objects.all()}
    made = [(memories[key].pk, bytes(memories[key].content_hash), [1.0] + [0.0] * 767) for key in order]
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Memory.objects.select_for_update().get(key="a")
            written = pool.submit(close_after, Embedding.objects.write, namespace.pk, "hashing-1", made)
            wait_until(is_lock_awaited, 60, "the vectors wait for the first memory")
            Memory.objects.select_for_update(nowait=True).get(key="b")
        assert written.result(60) == 2


def test_key_that_is_stored_while_an_import_runs_is_kept(api, namespace, tmp_path):
    api.add("As exported.", key="style")
    call_command("export_memories", str(file := tmp_path / "export.jsonl"), namespace="ours")
    header, *lines = file.read_text().splitlines()
    Memory.objects.all().delete()
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        work = NamespaceImport(namespace.pk, ExportHeader.model_validate_json(header))
        pool.submit(close_after, api.add, "Stored meanwhile.", key="style").result(60)
        parsed = [parse_line(number, json.loads(line), line) for number, line in enumerate(lines, 2)]
        assert work.insert(parsed) == []
        work.finish()
    assert [memory.content for memory in Memory.objects.all()] == ["Stored meanwhile."]


def close_after(work, *args, **fields):
    try:
        return work(*args, **fields)
    finally:
        connection.close()


def test_memory_that_is_replaced_while_it_becomes_an_insight_is_none(api):
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert put(api, "Tides turn.", memory_type="insight").status_code == 201
            assert Insight.objects.count() == 1
            replaced = pool.submit(close_after, put, api, "Tides turn twice.")
            wait_until(is_lock_awaited, 60, "the replacement waits for the memory")
        assert replaced.result(60).json()["memory_type"] == "agent"
    assert not Insight.objects.exists()
    assert not DeletedPart.objects.exists()


def test_namespace_that_is_deleted_meanwhile_has_no_key_any_more(api, namespace):
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            namespace.delete()
            stored = pool.submit(close_after, put, api, "Too late.")
            wait_until(is_lock_awaited, 60, "the memory waits for its namespace")
        assert is_problem(stored.result(60), 401)
    assert not Memory.objects.exists()
