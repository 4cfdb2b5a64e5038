"""A clone of a namespace has all its rows, under ids of its own, and nothing is embedded again."""

import pytest
from django.db import connection, transaction

from memories import tasks
from memories.graph.models import Relationship
from memories.models import DueEmbedding, Embedding, Memory
from memory_site.core.db.divided import list_divided_models
from memory_site.operations.namespaces.clone import clone_namespace
from memory_site.operations.namespaces.copied_tables import NOT_COPIED, list_copied_models
from memory_site.operations.namespaces.names import NamespaceProblem
from sessions_app.models import SCOPES, ApiKey, Conversation, Message, Namespace
from tests.api_contract.conftest import create_folder, create_rows
from tests.conftest import Api

pytestmark = pytest.mark.django_db
#: Made by triggers or tasks for the clone too.
DERIVED = {"graph.usertotal", "graph.userstatistics", "knowledge.duecluster", "memories.namespacesize"}


@pytest.fixture
def full(api, namespace, settings, tmp_path) -> dict[str, str]:
    settings.INGESTION_ROOTS = [str(tmp_path)]
    ids = create_rows(api, create_folder(tmp_path))
    text = "Our goal is to have the harbour open before the fishermen come home."
    api.post(f"/conversations/{ids['conversation_id']}/messages", {"role": "user", "content": text, "remember": True})
    return ids


def make_clone(namespace: Namespace, name: str = "clone") -> Namespace:
    list(clone_namespace(namespace, name))
    return Namespace.objects.get(name=name)


def count_rows(namespace: Namespace) -> dict[str, int]:
    models = [model for model in list_divided_models() if model._meta.label_lower not in NOT_COPIED]
    return {model._meta.label_lower: model._base_manager.filter(namespace=namespace).count() for model in models}


def test_every_divided_table_is_copied_or_says_why_not():
    divided = {model._meta.label_lower for model in list_divided_models()}
    copied = {model._meta.label_lower for model in list_copied_models()}
    assert copied == divided - NOT_COPIED.keys()


def test_the_clone_has_every_row_of_the_original_which_stays(full, namespace):
    before = count_rows(namespace)
    empty = {label for label, rows in before.items() if not rows}
    clone = make_clone(namespace)
    assert count_rows(clone) == before == count_rows(namespace)
    assert empty <= {"graph.pendingrelationship"} | ROWS_OF_OTHER_TESTS
    assert clone.embedding_model == namespace.embedding_model or Namespace.objects.get(pk=namespace.pk).embedding_model


#: Tables that `create_rows` leaves empty.
ROWS_OF_OTHER_TESTS: set[str] = set()


def test_no_id_is_in_both_and_references_stay_within_the_clone(full, namespace):
    clone = make_clone(namespace)
    for model in (Memory, Conversation, Message, Relationship):
        ids = [set(model.objects.filter(namespace=each).values_list("pk", flat=True)) for each in (namespace, clone)]
        assert ids[0].isdisjoint(ids[1]) and len(ids[0]) == len(ids[1])
    relationship = Relationship.objects.get(namespace=clone)
    original = Relationship.objects.get(namespace=namespace)
    assert relationship.from_memory.content == original.from_memory.content
    remembered = Message.objects.exclude(memory_id=None).get(namespace=clone)
    memory = Memory.objects.get(pk=remembered.memory_id)
    assert memory.metadata["message_id"] == str(remembered.pk)
    assert memory.metadata["conversation_id"] == str(remembered.conversation_id)


def test_foreign_ids_in_metadata_stay(api, namespace):
    metadata = {"document_id": "0189dc9f-0000-7000-8000-000000000000", "message_id": "none", "conversation_id": 7}
    api.add("a text", metadata=metadata)
    assert Memory.objects.get(namespace=make_clone(namespace)).metadata == metadata


def test_vectors_and_the_queue_are_copied(api, namespace, embedder):
    embedder("Refusing")
    api.add("one")
    api.add("poison")
    tasks.embed_due()
    api.add("two")
    clone = make_clone(namespace)
    embedder("Watched")
    assert Embedding.objects.get(namespace=clone).memory.content == "one"
    errors = {due.memory.content: bool(due.error) for due in DueEmbedding.objects.filter(namespace=clone)}
    assert errors == {"poison": True, "two": False}


def test_the_clone_is_searched_with_a_key_of_its_own(api, namespace):
    api.add("The harbour opens at nine.", user_id="ada", tags=["tea"])
    tasks.embed_due()
    other = Api(ApiKey.objects.issue(make_clone(namespace), scopes=SCOPES)[1])
    hits = other.search("harbour")["results"]
    assert [hit["memory"]["content"] for hit in hits] == ["The harbour opens at nine."]
    assert other.get("/users/ada").json()["memories"] == 1
    assert len(other.get("/clusters").json()["results"]) == 1
    assert other.delete(f"/memories/{hits[0]['memory']['id']}").status_code == 204
    assert len(api.search("harbour")["results"]) == 1


def test_batches_end_between_keys(api, namespace, monkeypatch):
    monkeypatch.setattr("memory_site.operations.namespaces.clone.BATCH_ROWS", 2)
    api.post("/memories/bulk", {"memories": [{"content": f"text {n}"} for n in range(5)]})
    tasks.embed_due()
    assert sum(clone_namespace(namespace, "clone")) == sum(count_rows(namespace).values())
    assert Embedding.objects.filter(namespace__name="clone").count() == 5


@pytest.mark.parametrize("name", ["ours", "", " ", "x" * 256, "a\0b"])
def test_a_name_that_cannot_be_given_is_refused(namespace, name):
    with pytest.raises(NamespaceProblem):
        list(clone_namespace(namespace, name))
    assert Namespace.objects.count() == 1


def test_an_interrupted_clone_leaves_nothing(full, namespace):
    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        for _ in clone_namespace(namespace, "clone"):
            raise KeyboardInterrupt
    assert not Namespace.objects.filter(name="clone").exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM memories_memory WHERE namespace_id <> %s", [namespace.pk])
        assert cursor.fetchone() == (0,)
