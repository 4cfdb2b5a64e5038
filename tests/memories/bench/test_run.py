"""The bench's search: the same hits as the API's, explained with the search's own numbers."""

import math
import re
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memories import tasks
from memories.bench import run
from memories.bench.checks import run_test_search, run_test_searches, save_test_search
from memories.bench.models import MAX_TEST_SEARCHES, TestSearch
from memories.bench.plan import explain_statement
from memories.bench.run import SearchFailed, compare, run_setting
from memories.bench.setting import Setting
from memories.models import Memory
from memories.seen import seen_memories
from memories.users.erasure import erase

pytestmark = pytest.mark.django_db
TEXTS = (
    "The harbour office of Porto opens at nine.",
    "Ingrid is the harbour pilot on the morning shift.",
    "Refunds need a second signature.",
    "The ferry to Lowick leaves the harbour at noon.",
    "Ada prefers answers in bullet points.",
)
QUERY = "when does the harbour office open?"


@pytest.fixture
def memories(api) -> list[dict]:
    added = [api.add(text, user_id="ada", importance=number + 1) for number, text in enumerate(TEXTS)]
    tasks.embed_due()
    return added


@pytest.mark.parametrize("ranking", ["search", "recall"])
@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_hits_scores_and_order_are_those_of_the_api(api, namespace, memories, mode, ranking):
    outcome = run_setting(namespace, Setting(query=QUERY, mode=mode, ranking=ranking))
    answer = api.post(f"/memories/{ranking}", {"query": QUERY, "mode": mode}).json()["results"]
    assert [str(pk) for pk in outcome.ids] == [hit["memory"]["id"] for hit in answer]
    # Relevance falls by 0.00002 a second, and the answer may come later.
    assert [hit.score for hit in outcome.hits] == pytest.approx([hit["score"] for hit in answer], rel=0.003)
    assert all(sentence for _, sentence in outcome.explained[1:])


def test_parts_of_a_score_add_up_to_it(namespace, memories):
    for hit in run_setting(namespace, Setting(query=QUERY)).hits:
        assert 1 - math.exp(-sum(hit.parts.values())) == pytest.approx(hit.hit["fused"], abs=1e-6)
        assert hit.score == hit.hit["fused"]


def test_factors_of_recall_multiply_to_its_score(namespace, memories):
    hits = run_setting(namespace, Setting(query=QUERY, ranking="recall")).hits
    for hit in hits:
        assert hit.hit["fused"] * math.prod(hit.factors.values()) == pytest.approx(hit.score, rel=1e-6)
    moved = [hit for hit in hits if hit.hit["fused_place"] != hit.place]
    assert all(f"from place {hit.hit['fused_place']} to {hit.place}" in hit.explain(None) for hit in moved)


def test_places_by_words_and_meaning_are_the_order_of_each(namespace, memories):
    hits = run_setting(namespace, Setting(query=QUERY)).hits
    for place, figure in (("words_place", "text_rank"), ("meaning_place", "similarity")):
        figures = [hit.hit[figure] for hit in hits if hit.hit[figure] is not None]
        for hit in hits:
            if hit.hit[figure] is not None:
                assert hit.hit[place] == 1 + sum(other > hit.hit[figure] for other in figures)


def test_floor_leaves_out_what_the_api_leaves_out_and_shows_it(api, namespace, memories):
    answer = api.post("/knowledge/query", {"query": "harbour"}).json()
    outcome = run_setting(namespace, Setting(query="zorgle fimbat harbour", floor=0.9))
    below = run_setting(namespace, Setting(query="zorgle fimbat harbour", floor=0))
    assert answer["results"] == []  # no chunks: only the search itself is looked at
    assert len(outcome.hits) < len(below.hits)
    assert outcome.left_out
    assert not {hit.memory["id"] for hit in outcome.left_out} & set(outcome.ids)
    assert {hit.memory["id"] for hit in outcome.left_out} <= set(below.ids)


def test_searching_counts_neither_access_nor_use(namespace, memories):
    seen_memories.flush()
    before = list(Memory.objects.order_by("pk").values("access_count", "last_accessed_at", "last_seen_at"))
    run_setting(namespace, Setting(query=QUERY, ranking="recall"))
    seen_memories.flush()
    assert list(Memory.objects.order_by("pk").values("access_count", "last_accessed_at", "last_seen_at")) == before


def test_comparison_names_what_moved_came_and_went(namespace, memories):
    first = run_setting(namespace, Setting(query=QUERY, mode="text", limit=2))
    second = run_setting(namespace, Setting(query=QUERY, mode="vector", limit=5))
    moves = compare(first, second)
    assert [move.memory["id"] for move in moves[:5]] == second.ids
    for move in moves:
        places = [hit and hit.place for hit in (move.before, move.after)]
        pk = move.memory["id"]
        assert places == [ids.index(pk) + 1 if pk in ids else None for ids in (first.ids, second.ids)]
    assert {"new"} <= {move.change for move in moves}


def test_other_namespaces_are_not_searched(api, outsider, elsewhere, memories):
    outsider.add(TEXTS[0], user_id="ada")
    assert run_setting(elsewhere, Setting(query=QUERY, mode="text")).hits == []


@pytest.mark.parametrize("query", ["???", "\u3000a", "OR AND -", "'\"%s{}\\", "harbour " * 500, "☃"])
def test_odd_queries_find_or_do_not(namespace, memories, query):
    outcome = run_setting(namespace, Setting(query=query))
    assert len(outcome.hits) <= 10


def test_search_that_takes_too_long_says_so(db):
    with pytest.raises(SearchFailed, match="was stopped"), run.bounded_statements(0.2):
        connection.cursor().execute("SELECT pg_sleep(60)")


def test_without_the_embedder_meaning_fails_and_the_rest_is_words(namespace, memories, embedder):
    embedder("Away")
    assert run_setting(namespace, Setting(query="harbour")).degraded
    with pytest.raises(SearchFailed):
        run_setting(namespace, Setting(query="harbour", mode="vector"))


def test_plan_shows_stages_and_no_vector(namespace, memories):
    outcome = run_setting(namespace, Setting(query=QUERY, floor=0.2))
    found = explain_statement(namespace, outcome)
    stages = {name for name, _, _ in found["stages"]}
    assert {"execution in all", "hits", "nearest"} <= stages
    everything = found["plan"] + found["statement"] + str(found["parameters"])
    number = next(number for number in outcome.search.vector if number)
    assert f"{number:.4f}" not in everything
    assert "%(vector)s" in found["statement"]


# Test searches


def test_run_reports_places_and_what_is_missing_or_gone(namespace, memories):
    expected = [memories[0]["id"], memories[2]["id"], memories[4]["id"]]
    search = save_test_search(namespace, "office", Setting(query="harbour office", mode="text"), expected, "ada")
    Memory.objects.filter(pk=memories[4]["id"]).delete()
    result = run_test_search(TestSearch.objects.get(pk=search.pk), namespace)
    assert [each.place for each in result.expected] == [1, None, None]
    assert [each.words is None for each in result.expected] == [False, False, True]
    assert not result.passed
    search.refresh_from_db()
    assert str(search.found[0]) == memories[0]["id"]
    assert search.last_run_at is not None


def test_command_exits_3_when_an_expected_memory_is_missing(namespace, memories):
    save_test_search(namespace, "office", Setting(query="harbour office", mode="text"), [memories[0]["id"]], "")
    out = StringIO()
    call_command("run_searches", namespace=namespace.name, format="jsonl", stdout=out, stderr=StringIO())
    assert '"place":1' in out.getvalue()
    save_test_search(namespace, "refunds", Setting(query="harbour", mode="text"), [memories[2]["id"]], "")
    with pytest.raises(SystemExit) as ended:
        call_command("run_searches", namespace=namespace.name, stdout=StringIO(), stderr=StringIO())
    assert ended.value.code == 3


def test_saving_again_under_a_name_replaces_it(namespace, memories):
    for number in (0, 1):
        save_test_search(namespace, " office\n hours ", Setting(query="harbour"), [memories[number]["id"]], "ada")
    search = TestSearch.objects.get()
    assert (search.name, [str(pk) for pk in search.expected]) == ("office hours", [memories[1]["id"]])


def test_numbers_and_names_are_bounded(namespace, memories):
    setting, one = Setting(query="harbour"), [memories[0]["id"]]
    for name, expected in (("", one), ("x" * 121, one), ("a\0", one), ("none", []), ("many", [None] * 0)):
        with pytest.raises(ValueError, match=r"\w"):
            save_test_search(namespace, name, setting, expected, "")
    rows = [TestSearch(namespace=namespace, name=str(n), setting={}) for n in range(MAX_TEST_SEARCHES)]
    TestSearch.objects.bulk_create(rows)
    with pytest.raises(ValueError, match="at most"):
        save_test_search(namespace, "one more", setting, one, "")
    assert save_test_search(namespace, "7", setting, one, "").name == "7"


def test_setting_of_another_release_is_a_problem_of_its_search_only(namespace, memories):
    TestSearch.objects.create(namespace=namespace, name="old", setting={"queries": 1}, expected=[memories[0]["id"]])
    save_test_search(namespace, "office", Setting(query="harbour", mode="text"), [memories[0]["id"]], "")
    results = {result.search.name: result for result in run_test_searches(namespace)}
    assert "another release" in results["old"].problem
    assert results["office"].passed


def test_time_is_bounded_and_the_next_run_goes_on(namespace, memories):
    for name in "abc":
        save_test_search(namespace, name, Setting(query="harbour", mode="text"), [memories[0]["id"]], "")
    assert list(run_test_searches(namespace, max_seconds=-1)) == []
    first = next(run_test_searches(namespace)).search.name
    assert first not in [result.search.name for result in run_test_searches(namespace)][:2]


def test_searches_about_a_user_are_erased_with_the_user(namespace, api, memories):
    others = api.add("a harbour of somebody else", user_id="ben")["id"]
    both = [memories[0]["id"], others]
    for name, expected in (("of ada", both[:1]), ("of both", both), ("of ben", both[1:])):
        save_test_search(namespace, name, Setting(query="harbour"), expected, "")
    assert erase(namespace.pk, "ada", "test")["test_searches"] == 1
    assert set(TestSearch.objects.values_list("name", flat=True)) == {"of both", "of ben"}


@pytest.mark.django_db(transaction=True)  # a limit of time inside another transaction takes one statement more
def test_one_setting_takes_few_statements(namespace, memories):
    for floor, most in ((0, 6), (0.2, 9)):
        run_setting(namespace, Setting(query=QUERY, floor=floor))
        with CaptureQueriesContext(connection) as statements:
            run_setting(namespace, Setting(query=QUERY, floor=floor))
        assert len(statements) <= most


def test_every_statement_names_the_namespace(namespace, memories):
    save_test_search(namespace, "office", Setting(query="harbour", floor=0.2), [memories[0]["id"]], "")
    with CaptureQueriesContext(connection) as statements:
        assert next(run_test_searches(namespace)).passed
        save_test_search(namespace, "office", Setting(query="harbour"), [memories[1]["id"]], "")
    ours = [each["sql"] for each in statements if re.search(r"memories_memory|bench_testsearch", each["sql"])]
    assert len(ours) >= 6
    assert [sql for sql in ours if "namespace_id" not in sql] == []
