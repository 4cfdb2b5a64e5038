"""Addresses of the rows behind the figures."""

from datetime import datetime
from functools import cache
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from memory_site.operations.dashboard.content import Scope

MOMENT, DAY = "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"


def link_list(model: str, **parameters: Any) -> str:
    """Return the address of a list, such as `memories_memory`, with these filters; a list of values repeats one."""
    address = get_list_address(model)
    query = urlencode({name: value for name, value in parameters.items() if value not in (None, "")}, doseq=True)
    return f"{address}?{query}" if query else address


@cache
def get_list_address(model: str) -> str:
    """Return the address of a list. A chart has hundreds of links to one, and the search for it takes longest."""
    return reverse(f"admin:{model}_changelist")


def link_memories(scope: Scope, **parameters: Any) -> str:
    return link_list("memories_memory", **scope.filters, **parameters)


def link_created(scope: Scope, since: datetime, until: datetime | None = None, **parameters: Any) -> str:
    """Return the list of the memories that were created at `since` or later, and before `until`."""
    times = {"created_from": f"{since:{MOMENT}}", "created_to": until and f"{until:{MOMENT}}"}
    return link_memories(scope, **times, **parameters)


def link_page(model: str, pk: Any) -> str:
    return reverse(f"admin:{model}_change", args=[pk])
