"""The console's sidebar: one taxonomy, from which every list is reached."""

from django.contrib import admin
from django.test.client import Client
from django.urls import reverse

from tests.console import create_staff_user

#: Lists that are reached from other pages.
NOT_LISTED = {"django_celery_beat_clockedschedule", "django_celery_beat_solarschedule"}


def fetch_groups(client: Client) -> list[dict]:
    return client.get(reverse("admin:password_change")).context["sidebar_navigation"]


def list_links(groups: list[dict]) -> list[str]:
    return [item["link"] for group in groups for item in group["items"]]


def test_every_list_is_reached_from_the_sidebar(admin_client):
    names = {f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry} - NOT_LISTED
    links = list_links(fetch_groups(admin_client))
    assert {reverse(f"admin:{name}_changelist") for name in names} <= set(links)
    assert len(links) == len(set(links)), "one entry for each page"


def test_titled_groups_are_folded(admin_client):
    """What is unfolded is only the group of the page: all groups have room at 900 px."""
    titled = [group for group in fetch_groups(admin_client) if group.get("title")]
    assert titled
    assert all(group["collapsible"] for group in titled)


def test_a_group_without_a_permitted_page_has_no_items(client, django_user_model):
    groups = fetch_groups(create_staff_user(client, django_user_model, "view_preference"))
    shown = {group["title"]: [item["title"] for item in group["items"]] for group in groups if group.get("title")}
    assert shown.pop("Learned") == ["Preferences"]
    assert not any(shown.values())
