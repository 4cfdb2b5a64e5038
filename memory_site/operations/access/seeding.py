"""Gives the roles their permissions, each permission once. What an administrator then changes of a group stays."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import DEFAULT_DB_ALIAS, transaction

from memory_site.core.db.locks import advisory_xact_lock
from memory_site.operations.access.models import SeededGrant
from memory_site.operations.roles import ADMINISTRATOR, EXTRA_PERMISSIONS, OPERATOR, PERMISSIONS, ROLES, VIEWER


def seed_roles_after_migrate(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    if using == DEFAULT_DB_ALIAS:
        seed_roles()


@transaction.atomic
def seed_roles() -> None:
    """Create the groups that were never created, and give each what a release adds.

    A permission that was taken from a group, and a group that was deleted or renamed, stay so.
    """
    advisory_xact_lock("roles")
    seeded = set(SeededGrant.objects.values_list("role", "permission"))
    permissions = load_permissions()
    for role in ROLES:
        before = {permission for name, permission in seeded if name == role}
        new = {name for name in permissions if is_granted(role, name)} - before
        if new:
            give(role, new, permissions, is_new=not before)


def give(role: str, new: Iterable[str], permissions: dict[str, Permission], *, is_new: bool) -> None:
    group = Group.objects.get_or_create(name=role)[0] if is_new else Group.objects.filter(name=role).first()
    if group is not None:
        group.permissions.add(*(permissions[name] for name in new))
    SeededGrant.objects.bulk_create(SeededGrant(role=role, permission=name) for name in new)


def load_permissions() -> dict[str, Permission]:
    """Return all permissions of models that have a line, by app and codename."""
    known = Permission.objects.select_related("content_type")
    return {
        f"{each.content_type.app_label}.{each.codename}": each
        for each in known
        if f"{each.content_type.app_label}.{each.content_type.model}" in PERMISSIONS
    }


def is_granted(role: str, permission: str) -> bool:
    """Return whether the table gives a permission, such as `memories.view_memory`, to a role."""
    if role == ADMINISTRATOR or role in EXTRA_PERMISSIONS.get(permission, ()):
        return True
    app, _, codename = permission.partition(".")
    action, _, model = codename.rpartition("_")
    line = PERMISSIONS.get(f"{app}.{model}")
    return line is not None and action in {VIEWER: line.viewer, OPERATOR: line.operator}[role]
