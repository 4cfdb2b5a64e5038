"""The migration that gives entities of Salesforce their ids of 18 characters."""

from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from memories.graph.models import PendingRelationship, Relationship
from memories.graph.relationships import resolve_missed
from memories.models import Memory

pytestmark = pytest.mark.django_db

SHORT_ID, LONG_ID = "0015g00000NwAGA", "0015g00000NwAGAAA3"


def migrate() -> None:
    module = import_module("memories.graph.migrations.0006_long_salesforce_ids")
    module.complete_ids(apps, SimpleNamespace(connection=connection))


def create_memory(namespace, content: str, entity_id: str | None = None, **fields: object) -> Memory:
    entity = {"entity_system": "salesforce", "entity_id": entity_id} if entity_id else {}
    labels = {"user_id": "ada", "source_system": "test"}
    return Memory.objects.create(namespace=namespace, content=content, **{**labels, **entity, **fields})


def relate(one: Memory, two: Memory, **fields: object) -> None:
    Relationship.objects.create(namespace_id=one.namespace_id, owner="ada", from_memory=one, to_memory=two, **fields)


def list_entities() -> list[tuple]:
    return sorted(Memory.objects.filter(entity_id__isnull=False).values_list("user_id", "entity_system", "entity_id"))


def test_a_short_id_becomes_the_long_one(namespace):
    create_memory(namespace, "Acme", SHORT_ID)
    create_memory(namespace, "Acme", SHORT_ID, user_id="ben")
    create_memory(namespace, "Ticket", SHORT_ID, entity_system="jira")
    migrate()
    migrate()
    expected = [("ada", "jira", SHORT_ID), ("ada", "salesforce", LONG_ID), ("ben", "salesforce", LONG_ID)]
    assert list_entities() == expected


def test_two_entities_of_one_record_are_joined(namespace):
    short = create_memory(
        namespace, "a", SHORT_ID, data={"entity_data": {"Name": "Acme", "Phone": "1"}}, tags=["x", "y"]
    )
    long = create_memory(namespace, "b", LONG_ID, data={"entity_data": {"Name": "Acme Corp"}}, tags=["y"])
    deal, note = create_memory(namespace, "deal"), create_memory(namespace, "note")
    relate(deal, short)
    relate(deal, long, type="produces")
    relate(note, short)
    relate(note, long)
    relate(short, long)
    relate(short, note, type="led_to")
    PendingRelationship.objects.create(
        namespace=namespace, owner="ada", from_memory=short, entity_system="jira", entity_id="A-1"
    )
    migrate()
    assert list_entities() == [("ada", "salesforce", LONG_ID)]
    assert set(Relationship.objects.values_list("from_memory__content", "type", "to_memory__content")) == {
        ("deal", "relates_to", "b"),
        ("deal", "produces", "b"),
        ("note", "relates_to", "b"),
        ("b", "led_to", "note"),
    }
    assert PendingRelationship.objects.get().from_memory_id == long.pk
    long.refresh_from_db()
    assert long.data == {"entity_data": {"Name": "Acme Corp", "Phone": "1"}}
    assert sorted(long.tags) == ["x", "y"]


def test_an_expired_twin_is_replaced(namespace):
    short = create_memory(namespace, "a", SHORT_ID)
    create_memory(namespace, "b", LONG_ID, expires_at=timezone.now() - timedelta(hours=1))
    migrate()
    assert list(Memory.objects.values_list("pk", "entity_id")) == [(short.pk, LONG_ID)]


def test_relationships_that_wait_for_a_short_id_find_the_long_one(namespace):
    deal, note = create_memory(namespace, "deal"), create_memory(namespace, "note")
    for memory, entity in ((deal, SHORT_ID), (deal, LONG_ID), (note, SHORT_ID)):
        PendingRelationship.objects.create(
            namespace=namespace, owner="ada", from_memory=memory, entity_system="salesforce", entity_id=entity
        )
    migrate()
    assert set(PendingRelationship.objects.values_list("from_memory__content", "entity_id")) == {
        ("deal", LONG_ID),
        ("note", LONG_ID),
    }
    create_memory(namespace, "Acme", LONG_ID)
    resolve_missed(namespace.pk)
    assert set(Relationship.objects.values_list("from_memory__content", "to_memory__content")) == {
        ("deal", "Acme"),
        ("note", "Acme"),
    }
