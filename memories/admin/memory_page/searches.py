"""The test searches of the bench that expect a memory, or found it when they ran last."""

from typing import Any

from django.db.models import Q
from django.http import HttpRequest

from memories.bench.models import MAX_TEST_SEARCHES, TestSearch
from memories.models import Memory


def build_searches_tab(request: HttpRequest, memory: Memory) -> dict[str, Any]:
    about = Q(expected__contains=[memory.pk]) | Q(found__contains=[memory.pk])
    searches = TestSearch.objects.filter(about, namespace=memory.namespace_id).order_by("name")
    return {"searches": [(each, describe_place(each, memory)) for each in searches[:MAX_TEST_SEARCHES]]}


def describe_place(search: TestSearch, memory: Memory) -> str:
    place = search.found.index(memory.pk) + 1 if memory.pk in search.found else None
    if memory.pk not in search.expected:
        return f"found in place {place}, not expected"
    if search.last_run_at is None:
        return "expected, not run yet"
    return "expected and not found" if place is None else f"expected, found in place {place}"
