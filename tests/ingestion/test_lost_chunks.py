"""Chunks that were deleted as memories: their documents are due again, and nothing counts them any more."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection

from ingestion import pipeline
from ingestion.models import Document
from memories.models import Memory
from memories.storage import purge_expired
from tests.ingestion.conftest import snapshot_repository
from tests.ingestion.folders import write_files

pytestmark = pytest.mark.django_db
FILES = {"a.md": "tea", "b.md": "coffee", "empty.md": ""}


def delete_each(api) -> None:
    for pk in Memory.objects.values_list("pk", flat=True):
        assert api.delete(f"/memories/{pk}").status_code == 204


def delete_repository_chunks(api) -> None:
    answer = api.post("/memories/delete", {"filters": {"repo_id": "site"}})
    assert answer.json() == {"matched": 2, "deleted": 2}


def forget_type(api) -> None:
    call_command("forget", "--type", "rag", "--namespace", "ours", "--yes-delete", "2")


def forget_memories(api) -> None:
    call_command("forget", "--memories", "--namespace", "ours", "--yes-delete", "2")


def erase_user_of_chunks(api) -> None:
    Memory.objects.update(user_id="ada")
    assert api.delete("/users/ada").status_code == 200


def expire(api) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for pk in Memory.objects.values_list("pk", flat=True):
        assert api.patch(f"/memories/{pk}", {"expires_at": soon}).status_code == 200
    Memory.objects.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))


def expire_and_purge(api) -> None:
    expire(api)
    assert purge_expired(Document.objects.first().namespace_id)


def delete_in_sql(api) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM memories_memory")


WAYS = [
    delete_each, delete_repository_chunks, forget_type, forget_memories, erase_user_of_chunks, expire, expire_and_purge,
    delete_in_sql,
]  # fmt: skip


@pytest.mark.parametrize("delete", WAYS, ids=lambda way: way.__name__)
def test_deleted_chunks_come_back_with_the_next_run(api, namespace, site, ingest, delete):
    write_files(site, FILES)
    ingest()
    before = snapshot_repository(namespace)
    delete(api)
    assert Memory.objects.alive().count() == 0
    row = ingest()
    assert (row.documents_changed, row.documents_skipped, row.chunks) == (2, 0, 2)
    assert snapshot_repository(namespace) == before
    assert ingest().documents_changed == 0


def test_only_the_document_that_lost_a_chunk_is_read_again(api, namespace, site, ingest):
    write_files(site, FILES | {"long.md": "\n\n".join(f"# {n}\n\n{'The roof was repaired. ' * 150}" for n in range(6))})
    ingest()
    before = snapshot_repository(namespace)
    kept = dict(Memory.objects.values_list("pk", "updated_at"))
    lost = Memory.objects.filter(metadata__file_path="long.md").first()
    assert api.delete(f"/memories/{lost.pk}").status_code == 204
    assert ingest().documents_changed == 1
    assert snapshot_repository(namespace) == before
    others = Memory.objects.exclude(metadata__file_path="long.md").values_list("pk", "updated_at")
    assert dict(others).items() <= kept.items()


def test_deleted_chunks_are_not_counted(api, console, site, ingest):
    write_files(site, FILES)
    ingest()
    [before] = api.get("/repositories").json()["results"]
    assert (before["documents"], before["chunks"]) == (3, 2)
    document = Document.objects.get(path="a.md")
    expiring, deleted = Memory.objects.filter(document_id=document.pk), Memory.objects.exclude(document_id=document.pk)
    expiring.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    deleted.delete()
    [after] = api.get("/repositories").json()["results"]
    assert (after["documents"], after["chunks"]) == (3, 0)
    assert api.get(f"/documents/{document.pk}").json()["chunks"] == 0
    assert [row["chunks"] for row in api.get("/documents").json()["results"]] == [0, 0, 0]
    page = console.get("/admin/ingestion/document/").content.decode()
    assert page.count('data-label="chunks"') == 3
    assert 'data-label="chunks">1' not in "".join(page.split())


def test_a_posted_text_whose_chunks_were_deleted_is_stored_again(api):
    first = api.post("/documents", {"content": "tea", "title": "Tea"}).json()
    Memory.objects.all().delete()
    again = api.post("/documents", {"content": "tea", "title": "Tea"}).json()
    assert again == first | {"updated_at": again["updated_at"]}
    assert Memory.objects.get().content == "tea"


def test_a_run_asks_for_lost_chunks_once(namespace, site, ingest, django_assert_max_num_queries, monkeypatch):
    monkeypatch.setattr(pipeline, "PROGRESS_INTERVAL_SECONDS", 600)
    write_files(site, {f"{number}.md": f"tea {number}" for number in range(40)})
    ingest()
    with django_assert_max_num_queries(17):
        assert ingest().documents_done == 40
