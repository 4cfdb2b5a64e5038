"""The bench's page, the saved test searches, and what their buttons do."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from pydantic import ValidationError

from memories.admin.search import parse_uuid_or_none
from memories.bench.admin.forms import SECOND, BenchForm, build_setting, describe_choices
from memories.bench.checks import (
    OUTDATED_SETTING,
    match_expected,
    run_test_search,
    run_test_searches,
    save_test_search,
)
from memories.bench.models import MAX_TEST_SEARCHES, TestSearch
from memories.bench.plan import explain_statement
from memories.bench.run import Outcome, SearchFailed, compare, run_setting
from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

BENCH, SAVED = "bench", "saved"
#: What every page here needs, and what the plan needs besides.
VIEW, VIEW_PLAN = ("memories.view_memory", "bench.view_testsearch"), "bench.view_plan"
ADD, CHANGE, DELETE = "bench.add_testsearch", "bench.change_testsearch", "bench.delete_testsearch"
#: All saved searches are run on the page for so long; the next click goes on.
MAX_RUN_SECONDS = 20
NO_NAMESPACE = "There is no namespace yet: create an API key first."
TEMPLATE = "admin/bench/testsearch/{}.html"


@admin.register(TestSearch)
class TestSearchAdmin(ReadOnlyAdmin):
    """Pages of their own instead of a list and a form."""

    empty_text = "Save a search of the search bench, with the memories that it should find, to have it tested again."
    __test__ = False  # no test of pytest

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, tuple[Callable, str]] = {
            "": (show_bench, "changelist"),
            "saved/": (show_saved, SAVED),
            "save/": (save, "save"),
            "run/": (run_all, "run_all"),
            "<uuid:pk>/change/": (show_bench, "change"),
            "<uuid:pk>/run/": (run_one, "run"),
            "<uuid:pk>/remove/": (remove, "remove"),
        }
        return [
            path(part, self.admin_site.admin_view(partial(view, model_admin=self)), name=f"bench_testsearch_{name}")
            for part, (view, name) in views.items()
        ]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


# Reading


def show_bench(request: HttpRequest, model_admin: TestSearchAdmin, pk: UUID | None = None) -> HttpResponse:
    """Show the form and, with a query, what it finds. With a saved search, its setting and what it expects."""
    require(request, *VIEW)
    search = get_search(request, pk) if pk else None
    namespace = search.namespace if search else choose_namespace(request)
    form = BenchForm.read(request.GET)
    if search and "query" not in request.GET:
        form = read_saved_form(request, search)
    context = build_page(request, model_admin, namespace, "Search bench", BENCH) | describe_choices()
    context |= {
        "fields": form.first,
        "others": form.second or form.first,
        "compares": form.second is not None,
        "second": SECOND,
        "search": search,
        "may_save": request.user.has_perm(ADD),
        "may_see_plan": request.user.has_perm(VIEW_PLAN),
        "wants_plan": bool(request.GET.get("plan")),
    }
    if namespace and form.first["query"]:
        context |= build_results(request, namespace, form, search)
    return TemplateResponse(request, TEMPLATE.format("bench"), context)


def read_saved_form(request: HttpRequest, search: TestSearch) -> BenchForm:
    try:
        return BenchForm.of_setting(search.read_setting())
    except ValidationError:
        messages.warning(request, OUTDATED_SETTING)
        return BenchForm.read(request.GET)


def build_results(
    request: HttpRequest, namespace: Namespace, form: BenchForm, search: TestSearch | None
) -> dict[str, Any]:
    """Run the form's settings. A value that is none, or a search that fails, is a message."""
    try:
        outcomes = [run_setting(namespace, build_setting(fields)) for fields in (form.first, form.second) if fields]
        plan = build_plan(request, namespace, outcomes[0])
    except (ValueError, SearchFailed) as error:
        messages.warning(request, f"Nothing was searched for. {error}")
        return {}
    expected = match_expected(search, outcomes[0].ids) if search else []
    marked = {each.id for each in expected}
    return {
        "outcomes": [describe_outcome(outcome, marked) for outcome in outcomes],
        "moves": compare(*outcomes) if len(outcomes) > 1 else [],
        "not_found": [each for each in expected if each.place is None],
        "expected": expected,
        "plan": plan,
    }


def build_plan(request: HttpRequest, namespace: Namespace, outcome: Outcome) -> dict[str, Any] | None:
    if not request.GET.get("plan"):
        return None
    require(request, VIEW_PLAN)
    return explain_statement(namespace, outcome)


def describe_outcome(outcome: Outcome, marked: set[UUID]) -> dict[str, Any]:
    rows = [(hit, sentence, hit.memory["id"] in marked) for hit, sentence in outcome.explained]
    total = sum(outcome.timings.values())
    return {"outcome": outcome, "rows": rows, "total": total}


def show_saved(request: HttpRequest, model_admin: TestSearchAdmin) -> HttpResponse:
    require(request, *VIEW)
    namespace = choose_namespace(request)
    searches = TestSearch.objects.filter(namespace=namespace).order_by("name")[:MAX_TEST_SEARCHES]
    context = build_page(request, model_admin, namespace, "Test searches", SAVED)
    context |= {
        "rows": [describe_search(each) for each in searches],
        "may_run": request.user.has_perm(CHANGE),
        "may_delete": request.user.has_perm(DELETE),
    }
    return TemplateResponse(request, TEMPLATE.format("saved"), context)


def describe_search(search: TestSearch) -> dict[str, Any]:
    places = {pk: place for place, pk in enumerate(search.found, 1)}
    ranks = [places[pk] for pk in search.expected if pk in places]
    missing = len(search.expected) - len(ranks)
    state = ("missing", "danger") if missing else ("found", "success")
    state = state if search.last_run_at else ("not run yet", "info")
    return {
        "search": search,
        "query": search.setting.get("query", "") if isinstance(search.setting, dict) else "",
        "state": state,
        "ranks": sorted(ranks),
        "missing": missing,
        "last_run": format_datetime(search.last_run_at),
    }


# Doing


def save(request: HttpRequest, model_admin: TestSearchAdmin) -> HttpResponse:
    """Store the form's first setting with the marked hits, and run it."""
    require_post(request, ADD)
    namespace = choose_namespace(request)
    if namespace is None:
        raise Http404
    expected = [pk for text in request.POST.getlist("expected") if (pk := parse_uuid_or_none(text))]
    try:
        setting = build_setting(BenchForm.read(request.POST).first)
        search = save_test_search(namespace, request.POST.get("name", ""), setting, expected, request.user.username)
    except ValueError as error:
        messages.error(request, f"This was not saved. {error}")
        fields = BenchForm.read(request.POST).first | {"namespace": namespace.pk}
        return HttpResponseRedirect(f"{reverse('admin:bench_testsearch_changelist')}?{urlencode(fields)}")
    run_test_search(search, namespace)
    messages.success(request, f"The test search “{search.name}” is saved.")
    return HttpResponseRedirect(reverse("admin:bench_testsearch_change", args=[search.pk]))


def run_all(request: HttpRequest, model_admin: TestSearchAdmin) -> HttpResponse:
    require_post(request, CHANGE)
    namespace = choose_namespace(request)
    if namespace is None:
        raise Http404
    results = list(run_test_searches(namespace, MAX_RUN_SECONDS))
    passed, total = sum(each.passed for each in results), TestSearch.objects.filter(namespace=namespace.pk).count()
    text = f"{passed} of {len(results)} test searches found all that they must find."
    if len(results) < total:
        text += f" After {MAX_RUN_SECONDS} s {total - len(results)} were left: run again to go on."
    (messages.success if passed == len(results) else messages.warning)(request, text)
    return HttpResponseRedirect(get_saved_url(namespace.pk))


def run_one(request: HttpRequest, model_admin: TestSearchAdmin, pk: UUID) -> HttpResponse:
    require_post(request, CHANGE)
    search = get_search(request, pk)
    result = run_test_search(search, search.namespace)
    if result.passed:
        messages.success(request, f"“{search.name}” found all that it must find.")
    else:
        messages.warning(request, f"“{search.name}”: {result.problem or f'{len(result.missing)} not found'}.")
    return HttpResponseRedirect(get_saved_url(search.namespace_id))


def remove(request: HttpRequest, model_admin: TestSearchAdmin, pk: UUID) -> HttpResponse:
    require_post(request, DELETE)
    search = get_search(request, pk)
    TestSearch.objects.filter(namespace=search.namespace_id, pk=pk).delete()
    messages.success(request, f"The test search “{search.name}” is removed.")
    return HttpResponseRedirect(get_saved_url(search.namespace_id))


# Helpers


def require(request: HttpRequest, *permissions: str) -> None:
    if not request.user.has_perms(permissions):
        raise PermissionDenied


def require_post(request: HttpRequest, permission: str) -> None:
    require(request, *VIEW, permission)
    if request.method != "POST":
        raise Http404


def get_search(request: HttpRequest, pk: UUID) -> TestSearch:
    search = TestSearch.objects.select_related("namespace").filter(pk=pk).first()
    if search is None:
        raise Http404
    return search


def choose_namespace(request: HttpRequest) -> Namespace | None:
    """Return the namespace of the form, or the oldest one."""
    if (number := request.POST.get("namespace", "")).isdecimal() and len(number) < 19:
        return Namespace.objects.filter(pk=number).first()
    return get_selected_namespace(request) or Namespace.objects.order_by("pk").first()


def get_saved_url(namespace_id: int) -> str:
    return f"{reverse('admin:bench_testsearch_saved')}?{urlencode({'namespace': namespace_id})}"


def build_page(
    request: HttpRequest, model_admin: TestSearchAdmin, namespace: Namespace | None, title: str, tab: str
) -> dict[str, Any]:
    if namespace is None:
        messages.info(request, NO_NAMESPACE)
    namespace_form = build_namespace_form(request, model_admin, namespace)
    query = urlencode({"namespace": namespace.pk}) if namespace else ""
    tabs = {BENCH: ("Try a query", "changelist"), SAVED: ("Test searches", SAVED)}
    return {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "namespace": namespace,
        "namespace_form": namespace_form,
        "media": forms.Media(namespace_form.Media) + forms.Media(js=["memory_site/bench.js"]),
        "tabs_list": [
            {
                "title": name,
                "link": f"{reverse(f'admin:bench_testsearch_{view}')}?{query}",
                "active": key == tab,
                "has_permission": True,
            }
            for key, (name, view) in tabs.items()
        ],
    }
