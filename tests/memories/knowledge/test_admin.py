"""Admin pages of clusters, patterns and preferences."""

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.utils import timezone

from memories.knowledge.admin import clusters as pages
from memories.knowledge.admin.preferences import PreferenceForm
from memories.knowledge.models import Cluster, Pattern, Preference
from memories.models import Memory
from memory_site.core.admin.base import CONCURRENT_CHANGE
from memory_site.core.db.ids import uuid7
from sessions_app.models import Namespace
from tests.console import query_rows, render_rows

pytestmark = pytest.mark.django_db
CLUSTERS_URL, PATTERNS_URL = "/admin/knowledge/cluster/", "/admin/knowledge/pattern/"
PREFERENCES_URL = "/admin/knowledge/preference/"
LIST_URLS = (CLUSTERS_URL, PATTERNS_URL, PREFERENCES_URL)
#: With clusters of one member, which the usual list leaves out.
ALL_CLUSTERS_URL = f"{CLUSTERS_URL}?members=all"
MAX_LIST_STATEMENTS = 5  # session, user, saved filters, count, page
SCRIPT_TAG = "<script>alert(1)</script>"
LONG_LABEL = "x" * 256


def create_cluster(
    namespace: Namespace, *contents: str, tags: tuple[str, ...] = ("acme",), **fields: object
) -> Cluster:
    """Create memories with these tags and return their cluster."""
    fields = {"namespace": namespace, "source_system": "test", "tags": list(tags)} | fields
    Memory.objects.bulk_create([Memory(id=uuid7(), content=content, **fields) for content in contents])
    return Cluster.objects.get(namespace=namespace, tags=sorted(tags))


def create_pattern(namespace: Namespace, key: str = "tests first", **fields: object) -> Pattern:
    return Pattern.objects.create(
        namespace=namespace, key=key, **{"pattern_type": "workflow", "user_id": "ada"} | fields
    )


def create_preference(namespace: Namespace, key: str = "theme", value: object = "dark", **fields: object) -> Preference:
    return Preference.objects.create(namespace=namespace, key=key, value=value, **{"user_id": "ada"} | fields)


def get_page_url(path: str, row: Cluster | Pattern | Preference, what: str = "change") -> str:
    return f"{path}{row.pk}/{what}/"


def fetch_page_text(console, path: str, **parameters: object) -> str:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.content.decode()


def list_rows(console, path: str, **parameters: object) -> list:
    return query_rows(console, path, **parameters)


def drawn(console, path: str, **parameters: object) -> list:
    return render_rows(console, path, **parameters)


def fetch_form_errors(response) -> str:
    """Return the errors of a refused form."""
    assert response.status_code == 200, (response.status_code, response.content[:300])
    form = response.context["adminform"].form
    assert form.errors
    return str(form.errors)


def assert_saved(response) -> None:
    errors = response.context and response.context["adminform"].form.errors
    assert response.status_code == 302, (response.status_code, errors)


def create_clerk(client, django_user_model, *permissions: str):
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(clerk)
    return client


# Lists


def test_the_side_bar_links_to_every_list(console):
    page = fetch_page_text(console, "/admin/")
    assert all(f'href="{path}"' in page for path in LIST_URLS)


def test_clusters_are_listed_with_members_and_importance(console, namespace):
    create_cluster(namespace, "one", "two", "three", tags=("renewal", "acme"))
    [row] = list_rows(console, CLUSTERS_URL)
    assert (row.member_count, round(row.importance_score, 1)) == (3, 1.3)
    text = fetch_page_text(console, CLUSTERS_URL)
    assert all(words in text for words in ("Agent: acme, renewal", "acme, renewal", "1.3", "1.00"))


def test_patterns_are_listed_newest_first(console, namespace):
    first, second = (
        create_pattern(namespace, frequency=1234),
        create_pattern(namespace, "asks a lot", pattern_type="preference"),
    )
    assert list_rows(console, PATTERNS_URL) == [second, first]
    text = fetch_page_text(console, PATTERNS_URL)
    assert all(words in text for words in ("tests first", "workflow", "ada", "1\u202f234", "1.00"))


def test_preferences_are_listed_with_the_beginning_of_their_value(console, namespace):
    create_preference(namespace, value={"theme": "x" * 1000}, confidence=0.25)
    text = fetch_page_text(console, PREFERENCES_URL)
    assert all(words in text for words in ("ada", "&quot;theme&quot;", "0.25", "api"))
    assert "x" * 200 not in text


@pytest.mark.parametrize("path", LIST_URLS)
def test_a_list_takes_a_constant_number_of_statements(console, namespace, path, django_assert_num_queries):
    def more(space: Namespace, key: str) -> None:
        create_cluster(space, key, tags=(key,))
        create_pattern(space, key)
        create_preference(space, key)

    path = ALL_CLUSTERS_URL if path == CLUSTERS_URL else path
    more(namespace, "first")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        drawn(console, path)
    for number in range(8):
        more(Namespace.objects.create(name=f"n{number}"), f"key {number}")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        assert len(drawn(console, path)) == 9


def test_usual_list_of_clusters_has_those_of_two_members_or_more(console, api):
    api.add("one", tags=["alone"])
    for text in ("two", "three"):
        api.add(text, tags=["pair"])
    assert [each.tags for each in list_rows(console, CLUSTERS_URL)] == [["pair"]]
    assert len(list_rows(console, CLUSTERS_URL, members="all")) == 2


def test_clusters_are_filtered_by_namespace_type_and_tag(console, namespace, elsewhere):
    ours, theirs = (
        create_cluster(namespace, "a", memory_type="insight"),
        create_cluster(elsewhere, "b", tags=("tea", "milk")),
    )
    assert list_rows(console, CLUSTERS_URL, namespace=namespace.pk) == [ours]
    assert list_rows(console, CLUSTERS_URL, memory_type="agent") == [theirs]
    assert list_rows(console, CLUSTERS_URL, tag="tea") == [theirs]
    assert len(list_rows(console, CLUSTERS_URL, memory_type="nonsense")) == 2


def test_clusters_are_searched_by_words_of_their_name_and_tags(console, namespace):
    ours, other = create_cluster(namespace, "a"), create_cluster(namespace, "b", tags=("harbour",))
    Cluster.objects.filter(pk=ours.pk).update(name="Renewals of spring")
    assert list_rows(console, CLUSTERS_URL, q="renewal") == [ours]
    assert list_rows(console, CLUSTERS_URL, q="harbour") == [other]
    assert list_rows(console, CLUSTERS_URL, q="boat") == []


def test_patterns_and_preferences_are_filtered_and_searched(console, namespace, elsewhere):
    rows = {
        PATTERNS_URL: (create_pattern(namespace, "Tests first"), create_pattern(elsewhere, "50% done", user_id="ben")),
        PREFERENCES_URL: (
            create_preference(namespace, "Tests"),
            create_preference(elsewhere, "50% done", user_id="ben"),
        ),
    }
    for path, (ours, theirs) in rows.items():
        assert list_rows(console, path, namespace=namespace.pk) == [ours]
        assert list_rows(console, path, user_id="ben") == [theirs]
        assert list_rows(console, path, q="tests") == [ours]
        assert list_rows(console, path, q="50%") == [theirs]
        assert list_rows(console, path, q="5_%") == []
    assert list_rows(console, PREFERENCES_URL, q="be") == [rows[PREFERENCES_URL][1]]
    assert list_rows(console, PATTERNS_URL, pattern_type="preference") == []


@pytest.mark.parametrize("path", LIST_URLS)
@pytest.mark.parametrize("query", ["a\0b", SCRIPT_TAG, "x" * 5000, "\\", "%s", "::"])
def test_no_query_breaks_a_list(console, namespace, path, query):
    create_cluster(namespace, "a")
    create_pattern(namespace)
    create_preference(namespace)
    assert SCRIPT_TAG not in fetch_page_text(console, path, q=query)
    for name in ("namespace", "tag", "user_id", "memory_type", "pattern_type"):
        assert console.get(path, {name: query}).status_code in (200, 302, 400)


@pytest.mark.parametrize("path", LIST_URLS)
def test_unknown_lookups_in_the_url_are_refused(console, path):
    assert console.get(path, {"created_at__gte": "2026-01-01"}).status_code in (302, 400)


def test_an_empty_list_explains_how_rows_are_created(console, namespace):
    assert "The first memory with tags creates one" in fetch_page_text(console, CLUSTERS_URL)
    assert "API clients store patterns" in fetch_page_text(console, PATTERNS_URL)
    assert "API clients store preferences" in fetch_page_text(console, PREFERENCES_URL)
    assert "No cluster matches." in fetch_page_text(console, CLUSTERS_URL, tag="nothing")
    assert "The search covers the newest" in fetch_page_text(console, PATTERNS_URL, q="nothing")


# Clusters


def test_a_clusters_page_links_to_its_members(console, namespace, monkeypatch):
    monkeypatch.setattr(pages, "MEMBERS_PER_PAGE", 2)
    cluster = create_cluster(namespace, "first", "second", "third")
    path = get_page_url(CLUSTERS_URL, cluster)
    members = dict(Memory.objects.values_list("content", "pk"))
    text = fetch_page_text(console, path)
    assert all(f"/admin/memories/memory/{members[name]}/change/" in text for name in ("third", "second"))
    assert "first" in fetch_page_text(console, path, page=2)
    assert fetch_page_text(console, path, page="x").count("/admin/memories/memory/0") == 2


def test_a_clusters_description_can_be_changed_and_its_tags_cannot(console, namespace):
    cluster = create_cluster(namespace, "a")
    fields = {"name": "Renewals", "description": "of Acme", "topics": "sales, spring", "confidence": "0.5"}
    assert_saved(
        console.post(get_page_url(CLUSTERS_URL, cluster), fields | {"tags": "other", "memory_type": "insight"})
    )
    changed = Cluster.objects.get()
    assert (changed.name, changed.description, changed.topics) == ("Renewals", "of Acme", ["sales", "spring"])
    assert (changed.confidence, changed.is_explicit, changed.tags) == (0.5, True, ["acme"])
    assert changed.memory_type == "agent"
    assert changed.updated_at > cluster.updated_at


def test_an_unnamed_cluster_can_be_changed_without_naming_it(console, namespace):
    cluster = create_cluster(namespace, "a")
    assert_saved(console.post(get_page_url(CLUSTERS_URL, cluster), {"name": "", "confidence": "0.5"}))
    assert (Cluster.objects.get().name, Cluster.objects.get().confidence) == ("", 0.5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": LONG_LABEL}, "at most 255"),
        ({"name": "a\0b"}, "Null characters"),
        ({"name": "  "}, "blank"),
        ({"description": "x" * 10_001}, "at most 10000"),
        ({"topics": LONG_LABEL}, "at most 255"),
        ({"topics": "a\0b"}, "NUL"),
        ({"topics": ",".join(map(str, range(65)))}, "at most 64"),
        ({"confidence": "1.5"}, "less than or equal to 1"),
        ({"confidence": "nan"}, "Enter a number"),
        ({"confidence": ""}, "required"),
    ],
    ids=str,
)
def test_invalid_cluster_values_are_reported(console, namespace, fields, words):
    cluster = create_cluster(namespace, "a")
    assert words in fetch_form_errors(
        console.post(get_page_url(CLUSTERS_URL, cluster), {"name": "ok", "confidence": "1"} | fields)
    )
    assert not Cluster.objects.get().is_explicit


def test_clusters_cannot_be_added(console, namespace):
    assert console.get(f"{CLUSTERS_URL}add/").status_code == 403


def test_a_cluster_is_deleted_and_its_memories_stay(console, namespace):
    path = get_page_url(CLUSTERS_URL, create_cluster(namespace, "a"), "delete")
    assert "Its memories stay" in fetch_page_text(console, path)
    assert console.post(path, {"post": "yes"}).status_code == 302
    assert (Cluster.objects.count(), Memory.objects.count()) == (0, 1)


def test_several_clusters_are_deleted_at_once(console, namespace):
    keys = [create_cluster(namespace, tag, tags=(tag,)).pk for tag in "ab"]
    create_cluster(namespace, "c", tags=("c",))
    sent = {"action": "delete_selected", "_selected_action": keys}
    assert "Their memories stay" in console.post(ALL_CLUSTERS_URL, sent).content.decode()
    assert console.post(ALL_CLUSTERS_URL, sent | {"post": "yes"}).status_code == 302
    assert [each.tags for each in Cluster.objects.all()] == [["c"]]


def test_a_cluster_of_expired_memories_is_listed_only_if_it_is_explicit(console, namespace):
    cluster = create_cluster(namespace, "a")
    Memory.objects.update(expires_at=timezone.now())
    assert list_rows(console, CLUSTERS_URL) == []
    assert console.get(get_page_url(CLUSTERS_URL, cluster)).status_code == 302
    Cluster.objects.update(is_explicit=True)
    assert list_rows(console, CLUSTERS_URL, members="all") == [cluster]
    assert "No unexpired memory of this type" in fetch_page_text(console, get_page_url(CLUSTERS_URL, cluster))


# Patterns


def build_pattern_form(space: Namespace, **fields: object) -> dict:
    whole = {"namespace": space.pk, "user_id": "ada", "key": "tests first", "pattern_type": "workflow"}
    whole |= {"description": "Every time.", "frequency": "3", "confidence": "0.5", "metadata": '{"a": 1}'}
    return whole | {"examples": "Run the tests, first.\r\nAre they green?\r\n"} | fields


def test_a_pattern_is_added_and_changed(console, namespace):
    assert_saved(console.post(f"{PATTERNS_URL}add/", build_pattern_form(namespace)))
    row = Pattern.objects.get()
    assert row.examples == ["Run the tests, first.", "Are they green?"]
    assert (row.namespace, row.user_id, row.frequency, row.metadata) == (namespace, "ada", 3, {"a": 1})
    assert "Run the tests, first." in fetch_page_text(console, get_page_url(PATTERNS_URL, row))
    assert_saved(
        console.post(
            get_page_url(PATTERNS_URL, row), build_pattern_form(namespace, user_id="ben", frequency="9", description="")
        )
    )
    changed = Pattern.objects.get()
    assert (changed.user_id, changed.frequency, changed.description) == ("ada", 9, None)
    assert changed.examples == row.examples
    assert changed.updated_at > row.updated_at


def test_a_pattern_may_have_no_user(console, namespace):
    assert_saved(console.post(f"{PATTERNS_URL}add/", build_pattern_form(namespace, user_id="")))
    assert Pattern.objects.get().user_id is None
    assert "already" in fetch_form_errors(
        console.post(f"{PATTERNS_URL}add/", build_pattern_form(namespace, user_id=""))
    )


def test_examples_of_several_lines_survive_other_changes(console, namespace):
    row = create_pattern(namespace, examples=["one\ntwo"])
    assert_saved(console.post(get_page_url(PATTERNS_URL, row), build_pattern_form(namespace, examples="one\r\ntwo")))
    assert Pattern.objects.get().examples == ["one\ntwo"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"namespace": "999999"}, "Select a valid choice"),
        ({"namespace": "x"}, "Select a valid choice"),
        ({"namespace": "9" * 40}, "Select a valid choice"),
        ({"key": ""}, "required"),
        ({"key": LONG_LABEL}, "at most 255"),
        ({"key": "a\0b"}, "Null characters"),
        ({"key": " "}, "blank"),
        ({"user_id": "\u200b"}, "blank"),
        ({"pattern_type": "habit"}, "Select a valid choice"),
        ({"frequency": "0"}, "greater than or equal to 1"),
        ({"frequency": "9" * 30}, "less than or equal to"),
        ({"frequency": "1.5"}, "whole number"),
        ({"confidence": "-1"}, "greater than or equal to 0"),
        ({"examples": "x" * 501}, "at most 500"),
        ({"examples": "a\0b"}, "NUL"),
        ({"examples": "\n".join("abcdefghijk")}, "at most 10"),
        ({"metadata": "[1]"}, "Must be an object"),
        ({"metadata": "{"}, "valid JSON"),
        ({"metadata": '{"a": "\\u0000"}'}, "NUL"),
        ({"metadata": "[" * 100_000}, "valid JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_pattern_values_are_reported(console, namespace, fields, words):
    assert words in fetch_form_errors(console.post(f"{PATTERNS_URL}add/", build_pattern_form(namespace, **fields)))
    assert not Pattern.objects.exists()


@pytest.mark.parametrize("path", [PATTERNS_URL, PREFERENCES_URL])
@pytest.mark.parametrize("value", ["x", "9" * 40, "a\0b", "²", "[", SCRIPT_TAG])
def test_no_initial_value_in_the_url_breaks_a_form(console, path, value):
    names = ("namespace", "user_id", "key", "frequency", "examples", "metadata", "value", "confidence")
    assert SCRIPT_TAG not in fetch_page_text(console, f"{path}add/", **dict.fromkeys(names, value))


# Preferences


def build_preference_form(space: Namespace, **fields: object) -> dict:
    whole = {"namespace": space.pk, "user_id": "ada", "key": "theme", "value": '{"dark": true}'}
    return whole | {"confidence": "0.5", "source": "admin"} | fields


@pytest.mark.parametrize("value", ['{"dark": true}', "{}", "[]", "null", '"dark"', '""', "0", "false", "1.5"])
def test_any_json_can_be_stored_and_changed_as_a_preference(console, namespace, api, value):
    assert_saved(console.post(f"{PREFERENCES_URL}add/", build_preference_form(namespace, value=value)))
    first = api.get("/preferences/ada/theme").json()
    assert (first["value"], first["confidence"], first["source"]) == (json.loads(value), 0.5, "admin")
    page = get_page_url(PREFERENCES_URL, Preference.objects.get())
    assert_saved(console.post(page, build_preference_form(namespace, value=value, confidence="0.75")))
    second = api.get("/preferences/ada/theme").json()
    assert (second["value"], second["confidence"]) == (first["value"], 0.75)
    assert second["updated_at"] > first["updated_at"]


def test_a_preferences_value_is_shown_as_json_and_replaced(console, namespace):
    row = create_preference(namespace, value={"theme": SCRIPT_TAG})
    text = fetch_page_text(console, get_page_url(PREFERENCES_URL, row))
    assert "json-view" in text
    assert SCRIPT_TAG not in text
    assert_saved(
        console.post(
            get_page_url(PREFERENCES_URL, row), build_preference_form(namespace, user_id="ben", key="x", value="null")
        )
    )
    changed = Preference.objects.get()
    assert (changed.user_id, changed.key, changed.value) == ("ada", "theme", None)


def test_a_duplicate_preference_is_refused_with_a_link_to_the_first(console, namespace):
    row = create_preference(namespace)
    text = fetch_form_errors(console.post(f"{PREFERENCES_URL}add/", build_preference_form(namespace)))
    assert "already" in text
    assert get_page_url(PREFERENCES_URL, row) in text
    assert_saved(console.post(f"{PREFERENCES_URL}add/", build_preference_form(namespace, user_id="ben")))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"user_id": ""}, "required"),
        ({"user_id": LONG_LABEL}, "at most 255"),
        ({"key": "a/b"}, "not contain a slash"),
        ({"key": "a\0b"}, "Null characters"),
        ({"source": LONG_LABEL}, "at most 255"),
        ({"source": ""}, "required"),
        ({"value": ""}, "required"),
        ({"value": " "}, "required"),
        ({"value": "{"}, "valid JSON"),
        ({"value": "NaN"}, "must be finite"),
        ({"value": '"\\ud800"'}, "surrogates"),
        ({"value": '"\\u0000"'}, "Null characters"),
        ({"value": "9" * 30}, "Integers must lie"),
        ({"value": '"' + "x" * 70_000 + '"'}, "65536 bytes"),
        ({"value": "[" * 100_000}, "valid JSON"),
        ({"value": "[[[[[[[[[[1]]]]]]]]]]"}, "levels"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_preference_values_are_reported(console, namespace, fields, words):
    assert words in fetch_form_errors(
        console.post(f"{PREFERENCES_URL}add/", build_preference_form(namespace, **fields))
    )
    row = create_preference(namespace, "other")
    kept_as_it_is = {"user_id", "key"} & set(fields)
    if not kept_as_it_is:
        assert words in fetch_form_errors(
            console.post(get_page_url(PREFERENCES_URL, row), build_preference_form(namespace, **fields))
        )
    assert Preference.objects.get().value == "dark"


def test_a_row_deleted_meanwhile_is_reported(console, namespace, monkeypatch):
    row = create_preference(namespace)
    monkeypatch.setattr(PreferenceForm, "implied", lambda _: Preference.objects.all().delete() and {})
    response = console.post(get_page_url(PREFERENCES_URL, row), build_preference_form(namespace))
    assert response.status_code == 302
    assert CONCURRENT_CHANGE in [str(each) for each in get_messages(response.wsgi_request)]


@pytest.mark.parametrize("path", LIST_URLS)
def test_the_admin_log_does_not_contain_user_content(console, namespace, path):
    rows = {
        CLUSTERS_URL: create_cluster(namespace, "a"),
        PATTERNS_URL: create_pattern(namespace),
        PREFERENCES_URL: create_preference(namespace),
    }
    console.post(get_page_url(path, rows[path], "delete"), {"post": "yes"})
    assert LogEntry.objects.get().object_repr == str(rows[path].pk)


@pytest.mark.parametrize("path", LIST_URLS)
def test_a_user_with_view_permission_changes_nothing_and_reads_no_memory(client, django_user_model, namespace, path):
    rows = {CLUSTERS_URL: create_cluster(namespace, "tea at five"), PATTERNS_URL: create_pattern(namespace)}
    rows[PREFERENCES_URL] = create_preference(namespace)
    clerk = create_clerk(client, django_user_model, f"view_{path.split('/')[3]}")
    assert list_rows(clerk, path, **({"members": "all"} if path == CLUSTERS_URL else {})) == [rows[path]]
    assert "tea at five" not in fetch_page_text(clerk, get_page_url(path, rows[path]))
    for what in ("change", "delete"):
        assert clerk.post(get_page_url(path, rows[path], what), {"post": "yes"}).status_code == 403
    assert [clerk.get(other).status_code for other in LIST_URLS if other != path] == [403, 403]
