"""What a memory takes along when it is deleted is kept for its return; what leaves for good leaves nothing."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from ingestion.models import Document
from memories import expiry
from memories.graph.models import Relationship
from memories.history.models import DeletedPart, MemoryVersion
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
