"""The roles of the console: one table, seeded once, then the administrator's."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import RequestFactory

import memory_site.urls  # noqa: F401  (registers the pages)
from memory_site.operations.access.models import SeededGrant
from memory_site.operations.access.seeding import seed_roles
from memory_site.operations.roles import ADMINISTRATOR, EXTRA_PERMISSIONS, OPERATOR, PERMISSIONS, ROLES, VIEWER

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def roles():
    """As after the first `migrate`, whatever an earlier test left."""
    SeededGrant.objects.all().delete()
    Group.objects.all().delete()
    seed_roles()


def create_member(*roles: str) -> User:
    user = User.objects.create(username="member", is_staff=True)
    user.groups.set(Group.objects.filter(name__in=roles))
    return user


def list_permissions(role: str) -> set[str]:
    return {
        f"{app}.{name}"
        for app, name in Group.objects.get(name=role).permissions.values_list("content_type__app_label", "codename")
    }


def test_every_model_has_a_line():
    models = {model._meta.label_lower for model in apps.get_models()}
    assert models - PERMISSIONS.keys() == set(), "memory_site/operations/roles.py says what each role may do with them"
    assert PERMISSIONS.keys() - models == set(), "there are no such models"


def test_extra_permissions_exist():
    known = {f"{app}.{name}" for app, name in Permission.objects.values_list("content_type__app_label", "codename")}
    assert EXTRA_PERMISSIONS.keys() <= known


def test_administrators_have_every_permission():
    assert Group.objects.get(name=ADMINISTRATOR).permissions.count() == Permission.objects.count()


def test_no_operator_makes_keys_or_users():
    user = create_member(OPERATOR)
    assert user.has_perm("memories.delete_memory") and user.has_perm("sessions_app.view_apikey")
    for model in ("sessions_app.{}_apikey", "auth.{}_user", "auth.{}_group", "access.{}_consolesession"):
        assert not any(user.has_perm(model.format(action)) for action in ("add", "change", "delete")), model


def test_viewers_change_nothing_and_see_no_key_and_no_account():
    permissions = list_permissions(VIEWER)
    assert {name.partition(".")[2].partition("_")[0] for name in permissions} == {"view"}
    assert permissions.isdisjoint({"sessions_app.view_apikey", "auth.view_user", "access.view_accessevent"})


def test_viewers_find_no_action_on_any_page():
    request = RequestFactory().get("/admin/")
    request.user = create_member(VIEWER)
    assert len(admin.site._registry) > 20
    for model, page in admin.site._registry.items():
        if not page.has_view_permission(request):
            continue
        assert page.get_actions(request) == {}, model
        may = (
            page.has_add_permission(request),
            page.has_change_permission(request),
            page.has_delete_permission(request),
        )
        assert not any(may), model
        for kind in ("list", "row", "detail", "submit_line"):
            actions = getattr(page, f"get_actions_{kind}")
            found = actions(request) if kind == "list" or kind == "row" else actions(request, "1")
            assert found == [], (model, kind)


def test_what_an_administrator_took_from_a_role_stays_taken_and_what_he_gave_stays_given():
    taken = Permission.objects.get(codename="delete_memory")
    given = Permission.objects.get(codename="add_apikey")
    group = Group.objects.get(name=OPERATOR)
    group.permissions.remove(taken)
    group.permissions.add(given)
    seed_roles()
    assert "memories.delete_memory" not in list_permissions(OPERATOR)
    assert "sessions_app.add_apikey" in list_permissions(OPERATOR)


def test_a_deleted_role_stays_deleted_and_a_renamed_one_is_not_made_twice():
    Group.objects.get(name=VIEWER).delete()
    Group.objects.filter(name=OPERATOR).update(name="desk")
    seed_roles()
    assert set(Group.objects.values_list("name", flat=True)) == {"desk", ADMINISTRATOR}


def test_what_a_release_adds_reaches_a_role_that_is_there():
    """As if this release had added a model: its permission is there, and no role was given it."""
    SeededGrant.objects.filter(permission="memories.view_memory").delete()
    for role in ROLES:
        Group.objects.get(name=role).permissions.remove(Permission.objects.get(codename="view_memory"))
    seed_roles()
    assert all("memories.view_memory" in list_permissions(role) for role in ROLES)
