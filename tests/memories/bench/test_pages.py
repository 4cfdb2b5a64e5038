"""The console's pages of the search bench."""

from html import unescape

import pytest

from memories import tasks
from memories.bench.models import TestSearch
from memories.models import Memory
from tests.console import create_staff_user

pytestmark = pytest.mark.django_db
BENCH_URL = "/admin/bench/testsearch/"
#: Session and user; namespace; two savepoints, the timeout and the search itself, once more when it found too few.
MAX_STATEMENTS = 12


def fetch(console, path: str = BENCH_URL, **parameters):
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response


def read_text(response) -> str:
    return unescape(response.content.decode())


def list_messages(response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


@pytest.fixture
def memories(api) -> list[dict]:
    texts = ("The harbour office opens at nine.", "Ingrid is the harbour pilot.", "Refunds need a signature.")
    added = [api.add(text, user_id="ada", importance=number + 1) for number, text in enumerate(texts)]
    tasks.embed_due()
    return added


def save(console, namespace, ids, **fields):
    form = {"namespace": namespace.pk, "query": "harbour office", "mode": "text", "name": "office", "expected": ids}
    return console.post(f"{BENCH_URL}save/", form | fields)


def test_page_shows_hits_with_reasons_and_the_time_of_each_stage(console, namespace, memories):
    response = fetch(console, query="harbour office", namespace=namespace.pk)
    text = read_text(response)
    assert "The harbour office opens at nine." in text
    assert "words put it in place 1" in text
    assert "search in PostgreSQL" in text
    [described] = response.context["outcomes"]
    assert str(described["outcome"].ids[0]) == memories[0]["id"]


def test_two_settings_stand_side_by_side_with_what_moved(console, namespace, memories):
    response = fetch(console, query="harbour", mode="text", compare=1, b_mode="vector", b_ranking="recall")
    assert [each["outcome"].setting.mode for each in response.context["outcomes"]] == ["text", "vector"]
    assert {"new"} <= {move.change for move in response.context["moves"]}
    assert "What moved" in read_text(response)


@pytest.mark.parametrize(
    "parameters",
    [
        {"query": "\0"},
        {"query": "a\0b"},
        {"query": "x" * 10_000},
        {"query": "\u200b"},
        {"query": "harbour", "mode": "all"},
        {"query": "harbour", "limit": "1e9"},
        {"query": "harbour", "limit": "51"},
        {"query": "harbour", "floor": "high"},
        {"query": "harbour", "threshold": "nan"},
        {"query": "harbour", "user_id": "\0"},
        {"query": "harbour", "memory_type": "nothing"},
        {"query": "harbour", "compare": "1", "b_limit": "-1"},
    ],
    ids=range(12),
)
def test_what_cannot_be_searched_is_a_message(console, namespace, memories, parameters):
    response = fetch(console, namespace=namespace.pk, **parameters)
    assert "Nothing was searched for" in list_messages(response)
    assert "outcomes" not in response.context


@pytest.mark.parametrize(
    "parameters", [{"query": "?!… --"}, {"namespace": "\0"}, {"namespace": "9" * 30}, {"b_mode": 1}]
)
def test_odd_parameters_answer(console, memories, parameters):
    assert fetch(console, **({"query": "harbour"} | parameters))


def test_plan_needs_its_permission_and_shows_no_vector(client, console, django_user_model, namespace, memories):
    response = fetch(console, query="harbour office", plan=1)
    assert "Execution Time" in read_text(response)
    assert "%(vector)s" in read_text(response)
    viewer = create_staff_user(client, django_user_model, "view_memory", "view_testsearch")
    assert 'name="plan"' not in read_text(fetch(viewer, query="harbour office"))
    assert viewer.get(BENCH_URL, {"query": "harbour office", "plan": 1}).status_code == 403


def test_page_takes_few_statements_however_many_memories(
    console, namespace, api, memories, django_assert_max_num_queries
):
    for count in (0, 60):
        for number in range(count):
            api.add(f"harbour {number}")
        tasks.embed_due()
        fetch(console, query="harbour", namespace=namespace.pk, limit=50)
        with django_assert_max_num_queries(MAX_STATEMENTS):
            fetch(console, query="harbour", namespace=namespace.pk, limit=50)


# Test searches


def test_marked_hits_are_saved_run_shown_and_removed(console, namespace, memories):
    response = save(console, namespace, [memories[0]["id"], memories[2]["id"]])
    search = TestSearch.objects.get()
    assert response.url == f"{BENCH_URL}{search.pk}/change/"
    assert (search.created_by, search.found[0]) == ("operator", Memory.objects.get(pk=memories[0]["id"]).pk)
    page = fetch(console, response.url)
    assert "Expected and not found" in read_text(page)
    assert memories[2]["id"] in read_text(page)
    saved = fetch(console, f"{BENCH_URL}saved/", namespace=namespace.pk)
    assert [row["state"][0] for row in saved.context["rows"]] == ["missing"]
    Memory.objects.filter(pk=memories[2]["id"]).update(content="The office of the harbour has refunds.")
    answer = console.post(f"{BENCH_URL}run/", {"namespace": namespace.pk}, follow=True)
    assert "1 of 1" in list_messages(answer)
    assert console.post(f"{BENCH_URL}{search.pk}/run/").status_code == 302
    assert console.post(f"{BENCH_URL}{search.pk}/remove/").status_code == 302
    assert not TestSearch.objects.exists()


def test_what_is_not_saved_says_why_and_keeps_the_form(console, namespace, memories):
    for ids, fields in (
        ([], {}),
        (["x"], {}),
        ([memories[0]["id"]], {"name": " "}),
        ([memories[0]["id"]], {"query": ""}),
    ):
        response = console.post(
            f"{BENCH_URL}save/",
            {"namespace": namespace.pk, "query": "harbour", "name": "office", "expected": ids} | fields,
            follow=True,
        )
        assert "This was not saved" in list_messages(response)
    assert not TestSearch.objects.exists()


def test_memory_page_names_the_searches_that_expect_or_found_it(console, namespace, memories):
    save(console, namespace, [memories[0]["id"]])
    for number, words in ((0, "place 1"), (1, "found in place 2, not expected"), (2, "no test search")):
        text = read_text(fetch(console, f"/admin/memories/memory/{memories[number]['id']}/change/", tab="searches"))
        assert words in text, number


def test_buttons_need_their_permissions(client, django_user_model, namespace, memories):
    search = TestSearch.objects.create(namespace=namespace, name="one", setting={"query": "harbour"})
    viewer = create_staff_user(client, django_user_model, "view_memory", "view_testsearch")
    assert viewer.get(BENCH_URL, {"query": "harbour"}).status_code == 200
    for path in ("save/", "run/", f"{search.pk}/run/", f"{search.pk}/remove/"):
        assert viewer.post(BENCH_URL + path, {"namespace": namespace.pk}).status_code == 403
    nobody = create_nobody(client, django_user_model)
    assert nobody.get(BENCH_URL).status_code == 403


def create_nobody(client, django_user_model):
    client.force_login(django_user_model.objects.create(username="nobody", is_staff=True))
    return client


def test_wrong_addresses_are_not_found(console, namespace):
    missing = "01890000-0000-7000-8000-000000000000"
    assert console.get(f"{BENCH_URL}{missing}/change/").status_code == 404
    assert console.get(f"{BENCH_URL}save/").status_code == 404
    assert console.post(f"{BENCH_URL}run/", {"namespace": "99999999"}).status_code == 404
