"""How operators see relationships, and make and change them."""

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from memories.graph.models import PendingRelationship, Relationship
from memories.models import Memory
from sessions_app.models import Namespace

pytestmark = pytest.mark.django_db
LIST = "/admin/graph/relationship/"
LIST_STATEMENTS = 4  # session, user, count, page
SCRIPT = "<script>alert(1)</script>"


def memory(namespace: Namespace, content: str, user: str | None = "ada") -> Memory:
    return Memory.objects.create(namespace=namespace, content=content, user_id=user, source_system="test")


def relate(start: Memory, finish: Memory, **fields: object) -> Relationship:
    mine = {"namespace_id": start.namespace_id, "owner": start.user_id or ""}
    return Relationship.objects.create(**mine, from_memory=start, to_memory=finish, **fields)


@pytest.fixture
def both(namespace) -> tuple[Memory, Memory]:
    return memory(namespace, "the harbour"), memory(namespace, "the lighthouse")


def page_of(row: Memory) -> str:
    return f"/admin/memories/memory/{row.pk}/change/"


def text_of(console, path: str, **parameters: object) -> str:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.content.decode()


def shown(console, **parameters: object) -> list:
    return list(console.get(LIST, parameters).context["cl"].result_list)


def filled(start: object, finish: object, **fields: object) -> dict:
    ends = {"from_memory": getattr(start, "pk", start), "to_memory": getattr(finish, "pk", finish)}
    return ends | {"type": "led_to", "strength": "0.5", "metadata": '{"why": "tide"}'} | fields


def clerk_of(client, django_user_model, *permissions: str):
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(clerk)
    return client


def test_the_list_shows_what_is_related_newest_first(console, namespace, both):
    first, second = relate(*both), relate(*both[::-1], type="refines")
    assert shown(console) == [second, first]
    text = text_of(console, LIST)
    assert all(words in text for words in ("the harbour", "the lighthouse", "refines", "ada", "ours"))


def test_the_list_takes_the_same_statements_for_one_and_for_many(console, both, django_assert_num_queries):
    relate(*both)
    with django_assert_num_queries(LIST_STATEMENTS):
        shown(console)
    for kind in ("led_to", "refines", "answers"):
        relate(*both, type=kind)
    with django_assert_num_queries(LIST_STATEMENTS):
        shown(console)


def test_it_is_narrowed_by_type_namespace_user_and_memory(console, namespace, elsewhere, both):
    ours = relate(*both, type="refines")
    theirs = relate(memory(elsewhere, "tea", "ben"), memory(elsewhere, "milk", "ben"))
    assert shown(console, type="refines") == [ours]
    assert shown(console, namespace=elsewhere.pk) == [theirs]
    assert shown(console, q="ben") == [theirs]
    assert shown(console, q=str(both[1].pk)) == [ours]
    assert len(shown(console, type="nonsense")) == 2


@pytest.mark.parametrize("lookup", ["from_memory__content__startswith", "metadata__contains"])
def test_no_other_condition_is_accepted(console, both, lookup):
    relate(*both)
    assert console.get(LIST, {lookup: "x"}).status_code in (302, 400)


def test_what_has_expired_is_not_shown(console, both):
    row = relate(*both)
    Memory.objects.filter(pk=both[1].pk).update(expires_at=timezone.now())
    assert shown(console) == []
    assert console.get(f"{LIST}{row.pk}/change/").status_code == 302
    assert "related to no other" in text_of(console, page_of(both[0]))


def test_one_is_made(console, namespace, both):
    assert console.post(f"{LIST}add/", filled(*both)).status_code == 302
    row = Relationship.objects.get()
    assert (row.namespace, row.owner, row.from_memory, row.to_memory) == (namespace, "ada", *both)
    assert (row.type, row.strength, row.metadata) == ("led_to", 0.5, {"why": "tide"})


def test_the_page_to_make_one_knows_the_memory_it_begins_with(console, both):
    assert str(both[0].pk) in text_of(console, f"{LIST}add/", from_memory=both[0].pk)


@pytest.mark.parametrize(
    ("fields", "said"),
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
def test_what_is_wrong_is_told(console, both, fields, said):
    response = console.post(f"{LIST}add/", filled(*both) | fields)
    assert response.status_code == 200
    assert said in response.content.decode()
    assert not Relationship.objects.exists()


def test_memories_of_two_users_or_one_memory_are_not_related(console, namespace, elsewhere, both):
    for other in (memory(namespace, "tea", "ben"), memory(namespace, "tea", None), memory(elsewhere, "tea"), both[0]):
        response = console.post(f"{LIST}add/", filled(both[0], other))
        assert response.status_code == 200
        text = response.content.decode()
        assert ("related to itself" if other == both[0] else "another user") in text
    assert not Relationship.objects.exists()


def test_a_twin_is_told_with_a_way_to_it(console, both):
    row = relate(*both, type="led_to")
    text = console.post(f"{LIST}add/", filled(*both)).content.decode()
    assert "in this way already" in text
    assert f"{LIST}{row.pk}/change/" in text
    other = relate(*both, type="refines")
    response = console.post(f"{LIST}{other.pk}/change/", filled(*both))
    assert "in this way already" in response.content.decode()


def test_one_is_changed_and_keeps_its_ends(console, both):
    row = relate(*both)
    response = console.post(f"{LIST}{row.pk}/change/", filled(*both[::-1], type="answers", strength="0.25"))
    assert response.status_code == 302
    changed = Relationship.objects.get()
    assert (changed.from_memory, changed.to_memory) == both
    assert (changed.type, changed.strength, changed.metadata) == ("answers", 0.25, {"why": "tide"})
    assert changed.updated_at > row.updated_at


def test_its_page_leads_to_both_memories(console, both):
    text = text_of(console, f"{LIST}{relate(*both, metadata={'why': 'tide'}).pk}/change/")
    assert all(page_of(each) in text for each in both)
    assert "tide" in text


def test_one_is_deleted_and_the_memories_stay(console, both):
    row = relate(*both)
    assert console.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert (Relationship.objects.count(), Memory.objects.count()) == (0, 2)


def test_a_memorys_page_shows_both_directions_and_what_waits(console, both):
    row = relate(*both, type="refines")
    mine = {"namespace_id": both[0].namespace_id, "owner": "ada", "from_memory": both[0]}
    PendingRelationship.objects.create(**mine, entity_system="jira", entity_id="A-77")
    for here, there in (both, both[::-1]):
        text = text_of(console, page_of(here))
        assert page_of(there) in text
        assert f"{LIST}{row.pk}/change/" in text
    assert "A-77" in text_of(console, page_of(both[0]))
    assert "Vector" in text


def test_a_hub_shows_its_newest_and_a_way_to_all(console, namespace, both):
    for number in range(55):
        relate(both[0], memory(namespace, f"boat {number}"))
    text = text_of(console, page_of(both[0]))
    assert text.count("boat ") == 50
    assert f"{LIST}?q={both[0].pk}" in text


def test_a_related_memory_keeps_its_user(console, both):
    relate(*both)
    unchanged = {"content": "the harbour", "memory_type": "agent", "importance": 3, "confidence": 1}
    unchanged |= {"source_system": "test", "metadata": "{}"}
    text = console.post(page_of(both[0]), unchanged | {"user_id": "ben"}).content.decode()
    assert "remove them before its user changes" in text
    assert console.post(page_of(both[0]), unchanged | {"user_id": "ada", "importance": 5}).status_code == 302
    assert Memory.objects.get(pk=both[0].pk).importance == 5
    Relationship.objects.all().delete()
    assert console.post(page_of(both[0]), unchanged | {"user_id": "ben"}).status_code == 302
    assert Memory.objects.get(pk=both[0].pk).user_id == "ben"


def test_contents_are_escaped(console, namespace, both):
    relate(both[0], memory(namespace, SCRIPT))
    for path in (LIST, page_of(both[0])):
        assert SCRIPT not in text_of(console, path)


def test_who_may_not_see_relationships_sees_none(client, django_user_model, both):
    row = relate(*both)
    clerk = clerk_of(client, django_user_model, "view_memory")
    assert clerk.get(LIST).status_code == 403
    assert str(row.pk) not in text_of(clerk, page_of(both[0]))


def test_who_may_only_see_them_changes_nothing(client, django_user_model, both):
    row = relate(*both)
    clerk = clerk_of(client, django_user_model, "view_relationship", "view_memory")
    assert shown(clerk) == [row]
    assert "Relate it to" not in text_of(clerk, page_of(both[0]))
    for path in ("add/", f"{row.pk}/change/", f"{row.pk}/delete/"):
        assert clerk.post(LIST + path, filled(*both, post="yes")).status_code == 403
    assert Relationship.objects.get().strength == 1
