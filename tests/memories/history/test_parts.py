"""What a memory takes along when it is deleted is kept for its return; what leaves for good leaves nothing."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from ingestion.chunking import Chunk
from ingestion.models import Document
from ingestion.pipeline import save_document
from memories import expiry
from memories.graph.models import Relationship
from memories.history.models import DeletedPart, MemoryVersion
from memories.history.restore import NO_DOCUMENT
from memories.models import Memory
from tests.memories.history.deleted import make_memory_with_parts

pytestmark = pytest.mark.django_db


def list_kinds() -> list[str]:
    return sorted(DeletedPart.objects.values_list("kind", flat=True))


def test_every_part_is_kept_once(api):
    memory = make_memory_with_parts(api)
    api.delete(f"/memories/{memory['id']}")
    assert list_kinds() == [
        "insight", "message", "pending relationship", "relationship", "relationship", "source of insight",
        "workflow execution",
    ]  # fmt: skip


def test_a_relationship_that_is_deleted_by_itself_is_no_part(api):
    memory = make_memory_with_parts(api)
    for relationship in Relationship.objects.all():
        assert api.delete(f"/relationships/{relationship.pk}").status_code == 204
    assert DeletedPart.objects.count() == 0
    api.delete(f"/memories/{memory['id']}")
    assert "relationship" not in list_kinds()


def test_expired_memories_leave_nothing(api, namespace):
    memory = make_memory_with_parts(api)
    api.patch(f"/memories/{memory['id']}", {"importance": 5})
    Memory.objects.filter(pk=memory["id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert expiry.delete_expired_memories(namespace.pk) == 1
    assert MemoryVersion.objects.count() == DeletedPart.objects.count() == 0


def test_a_document_takes_its_chunks_along(api, namespace):
    document = Document.objects.create(namespace=namespace, title="tea", digest=b"x", size=1, chunk_count=1)
    memory = api.add("chunk", memory_type="rag")
    Memory.objects.filter(pk=memory["id"]).update(document_id=document.pk)
    document.delete()
    assert Memory.objects.count() == MemoryVersion.objects.count() == DeletedPart.objects.count() == 0


def test_a_namespace_takes_its_history_along(api, namespace):
    memory = make_memory_with_parts(api)
    api.patch(f"/memories/{memory['id']}", {"importance": 5})
    api.delete(f"/memories/{memory['id']}")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sessions_app_apikey")
        cursor.execute("DELETE FROM sessions_app_namespace")
    assert MemoryVersion.objects.count() == DeletedPart.objects.count() == 0


def test_chunks_that_an_ingestion_replaces_leave_nothing(namespace):
    identity = {"namespace_id": namespace.pk, "repo_id": "r", "path": "tea.md"}
    for text in ("green tea", "black tea"):
        chunks = [Chunk(text, 0, 1, 1), Chunk("the same", 1, 2, 2)]
        save_document(identity, {"digest": text.encode(), "size": 1}, chunks)
    assert sorted(Memory.objects.values_list("content", flat=True)) == ["black tea", "the same"]
    assert MemoryVersion.objects.count() == 0


def test_a_chunk_comes_back_only_while_its_document_is_there(api, namespace):
    identity = {"namespace_id": namespace.pk, "repo_id": "r", "path": "tea.md"}
    save_document(identity, {"digest": b"1", "size": 1}, [Chunk("one", 0, 1, 1), Chunk("two", 1, 2, 2)])
    one, two = Memory.objects.order_by("content")
    for memory in (one, two):
        api.delete(f"/memories/{memory.pk}")
    assert api.post(f"/memories/{one.pk}/restore", {}).status_code == 200
    Document.objects.all().delete()
    answer = api.post("/trash/restore", {"ids": [str(two.pk)]}).json()
    assert answer["left"] == [{"id": str(two.pk), "reason": NO_DOCUMENT}]
