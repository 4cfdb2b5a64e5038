"""The console's list of entities."""

import pytest

from tests.console import create_staff_user, fetch_page_text, render_rows

pytestmark = pytest.mark.django_db
LIST_URL = "/admin/graph/entity/"


@pytest.fixture
def console(client, django_user_model):
    client.force_login(django_user_model.objects.create(username="operator", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def stored(api):
    for number in range(3):
        entity = {"system": "jira", "id": f"OPS-{number}", "type": "ticket", "name": f"Ticket {number}"}
        api.add(f"ticket {number}", entity=entity, user_id="ada")
    api.add("ticket 0 again", entity={"system": "jira", "id": "OPS-0", "name": "Ticket zero"}, user_id="ada")
    api.add("an account", entity={"system": "salesforce", "id": "A-1"})
    api.add("no entity")


def list_ids(console, **parameters) -> list[str]:
    return [each.entity_id for each in render_rows(console, LIST_URL, **parameters)]


def test_entities_are_listed_with_what_is_stored_of_them(console, stored):
    rows = {each.entity_id: each for each in render_rows(console, LIST_URL)}
    assert set(rows) == {"OPS-0", "OPS-1", "OPS-2", "A-1"}
    assert (rows["OPS-0"].entity_name, rows["OPS-0"].update_count) == ("Ticket zero", 1)


def test_systems_are_tabs_and_choices_with_counts(console, stored):
    page = fetch_page_text(console, LIST_URL)
    assert "jira (3)" in page and "salesforce (1)" in page
    assert list_ids(console, entity_system="salesforce") == ["A-1"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [({"q": "ZERO"}, ["OPS-0"]), ({"q": "ops-2"}, ["OPS-2"]), ({"q": "\0"}, 4), ({"entity_type": "ticket"}, 3)],
)
def test_entities_are_searched_and_filtered(console, stored, parameters, expected):
    found = list_ids(console, **parameters)
    assert (len(found) if isinstance(expected, int) else found) == expected


def test_list_takes_a_constant_number_of_statements(console, stored, django_assert_num_queries):
    for _ in range(2):
        with django_assert_num_queries(
            8
        ):  # session, user, saved filters, namespaces, systems, count, page, relationships
            list_ids(console)


def test_list_needs_the_permission_to_view_memories(client, django_user_model):
    assert create_staff_user(client, django_user_model).get(LIST_URL).status_code == 403
