"""Every list of the console: each of its columns with an order can be clicked, and its address takes anything."""

import pytest
from django.contrib import admin
from django.urls import reverse

import memory_site.urls  # noqa: F401  (registers the lists)
from memory_site.core.admin.base import BaseAdmin
from memory_site.core.lists.columns import list_known_columns
from memory_site.core.lists.models import SavedFilter

pytestmark = pytest.mark.django_db
LISTS = {
    model._meta.label_lower: model_admin
    for model, model_admin in admin.site._registry.items()
    if isinstance(model_admin, BaseAdmin) and model._meta.label_lower != "graph.usertotal"  # a page of its own
}
#: Lists that a caller's rows fill: all but the shown columns here are sorted.
UNSORTED = {
    "memories.memory": {"relationships"},
    "ingestion.performancemetric": {"figures"},
}
FILLED_LISTS = (
    *("memories.memory", "graph.relationship", "insights.insight", "knowledge.cluster", "knowledge.pattern"),
    *("knowledge.preference", "insights.projectgroup", "insights.projectdependency", "ingestion.ingestion"),
    *("ingestion.document", "ingestion.workflowexecution", "ingestion.performancemetric"),
    *("sessions_app.sessionmemory", "sessions_app.conversation", "sessions_app.sessionlink"),
)


def list_sorted_columns(name: str) -> list[str]:
    """Return the columns of a list that have an order."""
    model_admin = LISTS[name]
    return [column for column in list_known_columns(model_admin) if get_order(model_admin, column)]


def get_order(model_admin, column: str):
    attribute = getattr(model_admin, column, None)
    if attribute is None:
        return column if hasattr(model_admin.model, column) else None
    return getattr(attribute, "admin_order_field", None)


@pytest.mark.parametrize("name", FILLED_LISTS)
def test_every_column_has_an_order(name):
    known = set(list_known_columns(LISTS[name]))
    assert known - set(list_sorted_columns(name)) == UNSORTED.get(name, set())


@pytest.mark.parametrize("name", sorted(LISTS))
def test_list_is_drawn_in_the_order_of_each_column(name, client, django_user_model):
    """Of all columns at once, and of strange ones."""
    model_admin = LISTS[name]
    # Without a password: hashing one takes longer than the pages.
    operator = django_user_model.objects.create(username="operator", is_staff=True, is_superuser=True)
    SavedFilter.objects.create(list_name=name, owner=operator, columns=list_known_columns(model_admin))
    client.force_login(operator)
    url = reverse(f"admin:{name.replace('.', '_')}_changelist")
    every = ".".join(str(number) for number in range(1, len(list_known_columns(model_admin)) + 1))
    for order in (every, "-2.999.x.-"):
        assert client.get(url, {"o": order}).status_code == 200, order
