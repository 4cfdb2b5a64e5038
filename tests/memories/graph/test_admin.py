"""Relationships in the console."""

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.contrib.staticfiles import finders
from django.utils import timezone

from memories.admin.relationships import RELATIONSHIP_TYPE_COLOURS
from memories.graph.models import PendingRelationship, Relationship, RelationshipType
from memories.models import Memory
from sessions_app.models import Namespace
from tests.console import query_rows, render_rows

pytestmark = pytest.mark.django_db
LIST_URL = "/admin/graph/relationship/"
MAX_LIST_STATEMENTS = 5  # session, user, saved filters, count, page
SCRIPT_TAG = "<script>alert(1)</script>"


def create_memory(namespace: Namespace, content: str, user: str | None = "ada") -> Memory:
    return Memory.objects.create(namespace=namespace, content=content, user_id=user, source_system="test")


def create_relationship(start: Memory, finish: Memory, **fields: object) -> Relationship:
    mine = {"namespace_id": start.namespace_id, "owner": start.user_id or ""}
    return Relationship.objects.create(**mine, from_memory=start, to_memory=finish, **fields)


@pytest.fixture
def both(namespace) -> tuple[Memory, Memory]:
    return create_memory(namespace, "the harbour"), create_memory(namespace, "the lighthouse")


def get_page_url(row: Memory) -> str:
    return f"/admin/memories/memory/{row.pk}/change/"


def fetch_page_text(console, path: str, **parameters: object) -> str:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.content.decode()


def list_rows(console, **parameters: object) -> list:
    return query_rows(console, LIST_URL, **parameters)


def drawn(console, **parameters: object) -> list:
    return render_rows(console, LIST_URL, **parameters)


def build_form(start: object, finish: object, **fields: object) -> dict:
    ends = {"from_memory": getattr(start, "pk", start), "to_memory": getattr(finish, "pk", finish)}
    return ends | {"type": "led_to", "strength": "0.5", "metadata": '{"why": "tide"}'} | fields


def create_clerk(client, django_user_model, *permissions: str):
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(clerk)
    return client


def test_the_list_shows_relationships_newest_first(console, namespace, both):
    first, second = create_relationship(*both), create_relationship(*both[::-1], type="refines")
    assert list_rows(console) == [second, first]
    text = fetch_page_text(console, LIST_URL)
    assert all(words in text for words in ("the harbour", "the lighthouse", "refines", "ada", "ours"))


def test_the_list_takes_the_same_statements_for_one_and_for_many_rows(console, both, django_assert_num_queries):
    create_relationship(*both)
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        drawn(console)
    for kind in ("led_to", "refines", "answers"):
        create_relationship(*both, type=kind)
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        drawn(console)


def test_the_list_filters_by_type_namespace_user_and_memory(console, namespace, elsewhere, both):
    ours = create_relationship(*both, type="refines")
    theirs = create_relationship(create_memory(elsewhere, "tea", "ben"), create_memory(elsewhere, "milk", "ben"))
    assert list_rows(console, type="refines") == [ours]
    assert list_rows(console, namespace=elsewhere.pk) == [theirs]
    assert list_rows(console, q="ben") == [theirs]
    assert list_rows(console, q=str(both[1].pk)) == [ours]
    assert len(list_rows(console, type="nonsense")) == 2


@pytest.mark.parametrize("lookup", ["from_memory__content__startswith", "metadata__contains"])
def test_the_list_accepts_no_other_lookup(console, both, lookup):
    create_relationship(*both)
    assert console.get(LIST_URL, {lookup: "x"}).status_code in (302, 400)


def test_relationships_of_expired_memories_are_not_shown(console, both):
    row = create_relationship(*both)
    Memory.objects.filter(pk=both[1].pk).update(expires_at=timezone.now())
    assert list_rows(console) == []
    assert console.get(f"{LIST_URL}{row.pk}/change/").status_code == 302
    assert "has no relationships" in fetch_page_text(console, get_page_url(both[0]))


def test_the_form_creates_a_relationship(console, namespace, both):
    assert console.post(f"{LIST_URL}add/", build_form(*both)).status_code == 302
    row = Relationship.objects.get()
    assert (row.namespace, row.owner, row.from_memory, row.to_memory) == (namespace, "ada", *both)
    assert (row.type, row.strength, row.metadata) == ("led_to", 0.5, {"why": "tide"})


def test_the_form_is_prefilled_with_the_first_memory(console, both):
    assert str(both[0].pk) in fetch_page_text(console, f"{LIST_URL}add/", from_memory=both[0].pk)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strength": "1.5"}, "less than or equal to 1"),
        ({"strength": "nan"}, "Enter a number"),
        ({"type": "knows"}, "Select a valid choice"),
        ({"metadata": "[1]"}, "must be an object"),
        ({"metadata": "{"}, "valid JSON"),
        ({"from_memory": "x"}, "is not a valid UUID"),
        ({"to_memory": "00000000-0000-0000-0000-000000000000"}, "There is no such memory"),
    ],
    ids=str,
)
def test_the_form_names_what_is_not_valid(console, both, fields, message):
    response = console.post(f"{LIST_URL}add/", build_form(*both) | fields)
    assert response.status_code == 200
    assert message in response.content.decode()
    assert not Relationship.objects.exists()


def test_the_form_refuses_memories_of_two_users_and_one_memory_twice(console, namespace, elsewhere, both):
    for other in (
        create_memory(namespace, "tea", "ben"),
        create_memory(namespace, "tea", None),
        create_memory(elsewhere, "tea"),
        both[0],
    ):
        response = console.post(f"{LIST_URL}add/", build_form(both[0], other))
        assert response.status_code == 200
        text = response.content.decode()
        assert ("related to itself" if other == both[0] else "another user") in text
    assert not Relationship.objects.exists()


def test_the_form_refuses_a_duplicate_and_links_to_it(console, both):
    row = create_relationship(*both, type="led_to")
    text = console.post(f"{LIST_URL}add/", build_form(*both)).content.decode()
    assert "have this relationship already" in text
    assert f"{LIST_URL}{row.pk}/change/" in text
    other = create_relationship(*both, type="refines")
    response = console.post(f"{LIST_URL}{other.pk}/change/", build_form(*both))
    assert "have this relationship already" in response.content.decode()


def test_a_change_does_not_move_the_ends(console, both):
    row = create_relationship(*both)
    response = console.post(f"{LIST_URL}{row.pk}/change/", build_form(*both[::-1], type="answers", strength="0.25"))
    assert response.status_code == 302
    changed = Relationship.objects.get()
    assert (changed.from_memory, changed.to_memory) == both
    assert (changed.type, changed.strength, changed.metadata) == ("answers", 0.25, {"why": "tide"})
    assert changed.updated_at > row.updated_at


def test_the_page_links_to_both_memories(console, both):
    text = fetch_page_text(console, f"{LIST_URL}{create_relationship(*both, metadata={'why': 'tide'}).pk}/change/")
    assert all(get_page_url(each) in text for each in both)
    assert "tide" in text


def test_a_deleted_relationship_leaves_the_memories(console, both):
    row = create_relationship(*both)
    assert console.post(f"{LIST_URL}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert (Relationship.objects.count(), Memory.objects.count()) == (0, 2)


def test_the_page_of_a_memory_shows_both_directions_and_pending_relationships(console, both):
    row = create_relationship(*both, type="refines")
    mine = {"namespace_id": both[0].namespace_id, "owner": "ada", "from_memory": both[0]}
    PendingRelationship.objects.create(**mine, entity_system="jira", entity_id="A-77")
    for here, there in (both, both[::-1]):
        text = fetch_page_text(console, get_page_url(here), tab="relationships")
        assert get_page_url(there) in text
        assert f"{LIST_URL}{row.pk}/change/" in text
    assert "A-77" in fetch_page_text(console, get_page_url(both[0]), tab="relationships")


def test_the_page_of_a_memory_shows_the_newest_relationships_and_links_to_all(console, namespace, both):
    for number in range(55):
        create_relationship(both[0], create_memory(namespace, f"boat {number}"))
    text = fetch_page_text(console, get_page_url(both[0]), tab="relationships")
    assert len(re.findall(r"boat \d+</a>", text)) == 50
    assert f"{LIST_URL}?q={both[0].pk}" in text


def test_the_user_of_a_related_memory_cannot_be_changed(console, both):
    create_relationship(*both)
    unchanged = {"content": "the harbour", "memory_type": "agent", "importance": 3, "confidence": 1}
    unchanged |= {"source_system": "test", "metadata": "{}"}
    text = console.post(get_page_url(both[0]), unchanged | {"user_id": "ben"}).content.decode()
    assert "remove them before its user changes" in text
    assert console.post(get_page_url(both[0]), unchanged | {"user_id": "ada", "importance": 5}).status_code == 302
    assert Memory.objects.get(pk=both[0].pk).importance == 5
    Relationship.objects.all().delete()
    assert console.post(get_page_url(both[0]), unchanged | {"user_id": "ben"}).status_code == 302
    assert Memory.objects.get(pk=both[0].pk).user_id == "ben"


def test_types_without_a_colour_get_the_neutral_one():
    css = Path(finders.find("memory_site/console.css")).read_text()
    assert ":root { --line:" in css
    assert set(RELATIONSHIP_TYPE_COLOURS) == set(RelationshipType)


def test_contents_are_escaped(console, namespace, both):
    create_relationship(both[0], create_memory(namespace, SCRIPT_TAG))
    for path in (LIST_URL, get_page_url(both[0])):
        assert SCRIPT_TAG not in fetch_page_text(console, path)


def test_without_permission_relationships_are_hidden(client, django_user_model, both):
    row = create_relationship(*both)
    clerk = create_clerk(client, django_user_model, "view_memory")
    assert clerk.get(LIST_URL).status_code == 403
    assert str(row.pk) not in fetch_page_text(clerk, get_page_url(both[0]))


def test_with_view_permission_only_relationships_cannot_be_changed(client, django_user_model, both):
    row = create_relationship(*both)
    clerk = create_clerk(client, django_user_model, "view_relationship", "view_memory")
    assert list_rows(clerk) == [row]
    assert "Add a relationship" not in fetch_page_text(clerk, get_page_url(both[0]))
    for path in ("add/", f"{row.pk}/change/", f"{row.pk}/delete/"):
        assert clerk.post(LIST_URL + path, build_form(*both, post="yes")).status_code == 403
    assert Relationship.objects.get().strength == 1
