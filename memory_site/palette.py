"""What the command palette (Ctrl+K) finds, of what this account may see."""

from collections.abc import Callable, Iterator
from itertools import islice

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from unfold.dataclasses import SearchResult

from memories.admin.search import search_palette as search_memories
from memories.console_urls import get_user_page_url
from memories.users.admin.user_list import filter_totals
from memory_site.navigation import SIDEBAR, build_permitted_items
from memory_site.operations.admin.desk.tasks import TASKS
from sessions_app.models import ApiKey, SessionMemory
from sessions_app.models.access import KEY_PREFIX

MAX_RESULTS_OF_A_KIND = 5


def search_palette(request: HttpRequest, text: str) -> list[SearchResult]:
    """Return the matches, pages first."""
    text = text.strip().replace("\0", "")
    if not text:
        return []
    found = [islice(search(request, text), MAX_RESULTS_OF_A_KIND) for search in SEARCHES]
    return [*(result for results in found for result in results), *search_memories(request, text)]


def search_pages(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    """Find pages of the sidebar by a part of their title."""
    for group, items in SIDEBAR.items():
        for item in build_permitted_items(request, items):
            if text.casefold() in item["title"].casefold():
                yield SearchResult(item["title"], group, item["link"], item["icon"])


def search_tasks(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    """Find operations tasks by a part of their title, text or command."""
    for task in TASKS:
        words = f"{task.title} {task.text} manage.py {task.command}"
        if text.casefold() in words.casefold() and request.user.has_perm(task.permission):
            yield SearchResult(task.title, f"manage.py {task.command}", task.url, task.icon)


def search_users(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    """Find users with memories by the beginning of their id."""
    if request.user.has_perm("memories.view_memory"):
        for row in filter_totals(None, text)[:MAX_RESULTS_OF_A_KIND]:
            url = get_user_page_url(row["namespace_id"], row["user_id"])
            yield SearchResult(row["user_id"], f"user with {row['memory_total']} memories", url, "hub")


def search_sessions(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    """Find sessions by the beginning of their id."""
    if request.user.has_perm("sessions_app.view_sessionmemory"):
        rows = SessionMemory.objects.alive().filter(session_id__startswith=text).order_by("-updated_at")
        for pk, session in rows.values_list("pk", "session_id")[:MAX_RESULTS_OF_A_KIND]:
            url = reverse("admin:sessions_app_sessionmemory_change", args=[pk])
            yield SearchResult(session, "session", url, "chat")


def search_keys(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    """Find API keys by a part of their name, or by the beginning of their prefix."""
    if request.user.has_perm("sessions_app.view_apikey"):
        named = Q(name__icontains=text) | Q(pk__startswith=text.removeprefix(KEY_PREFIX))
        for key in ApiKey.objects.filter(named)[:MAX_RESULTS_OF_A_KIND]:
            url = reverse("admin:sessions_app_apikey_change", args=[key.pk])
            yield SearchResult(key.name or f"{KEY_PREFIX}{key.pk}", "API key", url, "key")


SEARCHES: tuple[Callable[[HttpRequest, str], Iterator[SearchResult]], ...] = (
    search_pages,
    search_tasks,
    search_users,
    search_sessions,
    search_keys,
)
