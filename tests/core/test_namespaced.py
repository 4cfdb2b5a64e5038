"""What the ORM reads or writes of a model with a namespace, it reads and writes by the namespace too."""

import re

import pytest
from django.apps import apps
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from memories.insights.models import Insight
from memories.models import DueEmbedding, Memory
from memory_site.core.db.namespaced import NamespacedForeignKey, NamespacedModel, NamespacedOneToOneField
from sessions_app.models import ApiKey, Conversation, Message, Namespace

NAMESPACED = [
    model
    for model in apps.get_models()
    if any(field.name == "namespace" for field in model._meta.fields) and model is not ApiKey
]


@pytest.fixture
def memory(namespace: Namespace) -> Memory:
    return Memory.objects.create(namespace=namespace, content="Ada likes tea.", source_system="test")


@pytest.fixture
def insight(memory: Memory) -> Insight:
    return Insight.objects.create(memory=memory, namespace=memory.namespace, digest=bytes(32), bands=[], quality=1)


@pytest.fixture
def message(namespace: Namespace) -> Message:
    conversation = Conversation.objects.create(namespace=namespace)
    return Message.objects.create(namespace=namespace, conversation=conversation, role="user", content="Hello.")


def record_statement(work) -> str:
    """Return the one statement that this work executes besides naming who acts, without quotes and what it selects."""
    with CaptureQueriesContext(connection) as captured:
        work()
    [statement] = [each["sql"].replace('"', "") for each in captured if "actor_of" not in each["sql"]]
    return re.sub(r"SELECT .*? FROM", "SELECT FROM", statement)


@pytest.mark.parametrize("model", NAMESPACED, ids=str)
def test_every_model_with_a_namespace_and_its_keys_name_it(model):
    assert issubclass(model, NamespacedModel)
    keys = [field for field in model._meta.fields if field.remote_field and field.remote_field.model in NAMESPACED]
    assert all(isinstance(key, NamespacedForeignKey | NamespacedOneToOneField) for key in keys)


def test_migrations_know_plain_keys_only():
    for field in (Message._meta.get_field("conversation"), DueEmbedding._meta.get_field("memory")):
        path = field.deconstruct()[1]
        assert path in ("django.db.models.ForeignKey", "django.db.models.OneToOneField")


def test_save_names_the_namespace(memory):
    assert f"WHERE (memories_memory.namespace_id = {memory.namespace_id} AND" in record_statement(
        lambda: memory.save(update_fields=["summary"])
    )


def test_object_of_another_namespace_is_not_changed(memory, elsewhere):
    stray = Memory(pk=memory.pk, namespace=elsewhere, content="stray", source_system="test")
    stray._state.adding = False
    with pytest.raises(DatabaseError):
        stray.save(update_fields=["content"])


def test_delete_names_the_namespace(message):
    named = f"namespace_id = {message.namespace_id}"
    assert named in record_statement(message.delete)
    assert not Message.objects.exists()


def test_refresh_names_the_namespace(memory):
    Memory.objects.update(summary="changed")
    assert f"namespace_id = {memory.namespace_id}" in record_statement(memory.refresh_from_db)
    assert memory.summary == "changed"


def test_deferred_fields_are_read_even_without_the_namespace(memory):
    assert Memory.objects.only("id").get().namespace_id == memory.namespace_id
    assert Memory.objects.only("id").get().content == memory.content


@pytest.mark.parametrize(
    ("model", "path"), [(Insight, "memory__content"), (Memory, "insight__quality"), (Memory, "embeddings__model")]
)
def test_joins_name_the_namespace_in_both_directions(model, path):
    condition = str(model.objects.values(path).query).partition(" ON ")[2]
    assert condition.count("namespace_id") == 2


def test_related_objects_are_read_by_namespace(insight, message):
    named = f"namespace_id = {message.namespace_id}"
    insight, memory = Insight.objects.get(), Memory.objects.get()
    message, conversation = Message.objects.get(), Conversation.objects.get()
    assert named in record_statement(lambda: insight.memory)
    assert named in record_statement(lambda: memory.insight)
    assert named in record_statement(lambda: message.conversation)
    assert named in record_statement(lambda: list(conversation.messages.all()))
    assert list(conversation.messages.all()) == [message]


@pytest.mark.parametrize(
    ("rows", "relation"),
    [
        (Insight.objects, "memory"),
        (Memory.objects, "insight"),
        (Message.objects, "conversation"),
        (Conversation.objects, "messages"),
    ],
)
def test_prefetched_objects_are_read_by_namespace(insight, message, rows, relation):
    with CaptureQueriesContext(connection) as captured:
        assert len(rows.prefetch_related(relation)) == 1
    assert f"namespace_id IN ({message.namespace_id})" in captured[-1]["sql"].replace('"', "")
