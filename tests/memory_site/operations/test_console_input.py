"""Nothing that a signed-in operator can send to the console's addresses is answered with 500."""

from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.urls import NoReverseMatch, reverse

NUL, LONE, LONG = "a\x00b", "\ud800", "x" * 5_000
LIST_QUERIES = [
    *({"q": text} for text in (NUL, "'", LONG, "(", "\\")),
    *({"p": page} for page in ("x", "-1", "99999999999999999999")),
    *({"o": order} for order in ("x", "-999", "1.2.x", NUL)),
    {"e": "1"},
    {"_popup": "1", "_to_field": "zzz"},
    {"all": ""},
    {"_facets": "True"},
    {"id__regex": "(a+)+$"},
    {"namespace": NUL},
    {"namespace__id__exact": "99999999999999999999"},
    {NUL: NUL},
]
ROWS = ("0", "-1", "x", "99999999999999999999", "_00", "a_00b", "..", "01a22cc1-e48a-7b52-8a59-b392aabe9655")
ROW_PAGES = ("change", "delete", "history")
SELECTIONS = [["x"], ["0"], ["99999999999999999999"], [NUL], ["01a22cc1-e48a-7b52-8a59-b392aabe9655"], []]

#: An action that does not exist reads no row.
ATTEMPTS = [
    *(("delete_selected", rows) for rows in SELECTIONS),
    *((action, rows) for action in ("no_such_action", NUL, "") for rows in ([NUL], [])),
]


def list_models() -> list[str]:
    admin.autodiscover()
    return sorted(f"{m._meta.app_label}_{m._meta.model_name}" for m in admin.site._registry)


def find_address(name: str, *arguments: str) -> str | None:
    try:
        return reverse(f"admin:{name}", args=arguments)
    except NoReverseMatch:
        return None


def check(response, *what: object) -> None:
    assert response.status_code < 500, what


@pytest.mark.parametrize("part", range(4))
def test_lists_and_rows(console, namespace, part):
    for model in list_models()[part::4]:
        listed = find_address(f"{model}_changelist")
        for query in LIST_QUERIES:
            check(console.get(f"{listed}?{urlencode(query, errors='surrogatepass')}"), listed, query)
        for row in ROWS:
            for page in ROW_PAGES:
                if address := find_address(f"{model}_{page}", row):
                    check(console.get(address), address)
                    check(console.post(address, {"post": "yes", "_save": ""}), address)


def test_actions_on_rows_that_are_not_there(console, namespace):
    for model in list_models():
        listed = find_address(f"{model}_changelist")
        for action, rows in ATTEMPTS:
            body = {"action": action, "_selected_action": rows, "index": "x", "select_across": "1"}
            check(console.post(listed, body), listed, action, rows)


def test_forms_with_strange_starting_values(console, namespace):
    for model in list_models():
        address = find_address(f"{model}_add")
        if address and console.get(address).status_code == 200:
            names = ("namespace", "user", "from_memory", "to_memory", "expires_at", "tags", "data", "task")
            for value in (NUL, "x", "99999999999999999999", LONG):
                query = urlencode(dict.fromkeys(names, value))
                check(console.get(f"{address}?{query}"), address, value)
                check(console.post(address, dict.fromkeys(names, value)), address, value)


@pytest.mark.parametrize("query", [{"s": NUL}, {"s": LONG}, {"s": "a", "page": "x"}, {"s": "a", "page": "99"}, {}])
def test_the_command_palette(console, namespace, query):
    for extended in ({}, {"extended": "1"}):
        check(console.get(reverse("admin:search"), query | extended), query)


@pytest.mark.parametrize("term", [NUL, LONG, "'", "%"])
def test_autocompletion(console, namespace, term):
    fields = [
        (model._meta.app_label, model._meta.model_name, field)
        for model, options in admin.site._registry.items()
        for field in options.autocomplete_fields
    ]
    assert fields
    for app, model, field in [*fields, ("x", "y", "z"), ("memories", "memory", "content")]:
        query = {"app_label": app, "model_name": model, "field_name": field, "term": term}
        check(console.get(reverse("admin:autocomplete"), query), query)
        check(console.get(reverse("admin:autocomplete"), query | {"page": "x"}), query)
