"""Activity and common words of projects."""

from datetime import timedelta

import pytest
from django.utils import timezone

from memories.insights.redaction import redact_project_name
from memories.models import Memory
from tests.memories.projects.helpers import insert_insight
from tests.wire import is_problem

pytestmark = pytest.mark.django_db


def get_patterns(api, query: str = "") -> dict:
    response = api.get(f"/projects/patterns{query}")
    assert response.status_code == 200, response.content
    return response.json()


def list_common_words(api, query: str = "") -> list[str]:
    return [each["word"] for each in get_patterns(api, query)["common"]]


def backdate(pk: str, **age: float) -> None:
    Memory.objects.filter(pk=pk).update(created_at=timezone.now() - timedelta(**age))


def test_empty_namespace_has_no_patterns(api):
    assert get_patterns(api) == {"activity": [], "common": []}


def test_projects_are_sorted_by_activity(api, namespace):
    for n in range(3):
        api.add(f"number {n}", repo_id="web")
    last = api.add("number 3", repo_id="api")
    insert_insight(namespace, "Deploys are safe on Fridays, mostly.", "api", "web", "mail")
    api.add("of no project")
    found = get_patterns(api)["activity"]
    counts = [(each["project"], each["memories"], each["insights"]) for each in found]
    assert counts == [("web", 4, 1), ("api", 2, 1), ("mail", 1, 1)]
    assert found[0]["last_at"] > last["created_at"]
    assert [each["project"] for each in get_patterns(api, "?limit=2")["activity"]] == ["web", "api"]


def test_insight_of_one_project_counts_once(api, namespace):
    insert_insight(namespace, "Deploys are safe on Fridays, mostly.", "web")
    [one] = get_patterns(api)["activity"]
    assert (one["project"], one["memories"], one["insights"]) == ("web", 1, 1)


def test_only_the_last_days_count(api):
    backdate(api.add("harbour in web", repo_id="web")["id"], days=31)
    backdate(api.add("harbour in api", repo_id="api")["id"], days=29)
    assert [each["project"] for each in get_patterns(api)["activity"]] == ["api"]
    assert list_common_words(api) == []
    assert [each["project"] for each in get_patterns(api, "?days=32")["activity"]] == ["api", "web"]
    assert list_common_words(api, "?days=32") == ["harbour"]


def test_words_of_two_projects_are_common(api):
    api.add("Harbour, harbour! The ferry is late.", repo_id="web")
    api.add("Our HARBOUR_2 is full; the lighthouse is on.", repo_id="api")
    api.add("A lighthouse and its keeper", repo_id="mail")
    api.add("The harbour of mail", repo_id="mail")
    assert get_patterns(api)["common"] == [
        {"word": "harbour", "projects": 3, "names": ["web", "api", "mail"], "occurrences": 4},
        {"word": "lighthouse", "projects": 2, "names": ["api", "mail"], "occurrences": 2},
    ]


def test_short_words_stop_words_and_words_of_one_project_are_not_common(api):
    for project in ("web", "api"):
        api.add(f"They should call there through their port, which were {'alone' * 2} {project * 3}", repo_id=project)
    assert list_common_words(api) == ["alonealone"]


@pytest.mark.parametrize("word", ["größe", "гавань", "λιμάνι", "réseau"])
def test_words_of_every_alphabet_count(api, word):
    for project in ("web", "api"):
        api.add(f"x {word.capitalize()} {project}: {word}.", repo_id=project)
    assert list_common_words(api) == [word]


def test_ten_words_are_listed_by_number_of_projects(api):
    many = [f"{letter * 6}" for letter in "abcdefghijkl"]
    for project in ("web", "api"):
        api.add(f"{project} {' '.join(many)} {'llllll ' * 2}", repo_id=project)
    api.add("kkkkkk", repo_id="mail")
    found = list_common_words(api)
    assert found[:2] == ["kkkkkk", "llllll"]
    assert len(found) == 10


def test_ten_projects_are_listed_for_a_word(api):
    for n in range(12):
        api.add(f"harbour {'harbour ' * (n % 2)}{n}", repo_id=f"project {n}")
    [one] = get_patterns(api)["common"]
    assert (one["projects"], one["occurrences"]) == (12, 18)
    assert len(one["names"]) == 10
    assert one["names"][:6] == sorted(f"project {n}" for n in range(1, 12, 2))


def test_only_the_beginning_of_a_long_text_is_read(api):
    api.add("harbour lighthouse", repo_id="web")
    api.add(f"harbour {'x ' * 2496}lighthouse", repo_id="api")
    assert list_common_words(api) == ["harbour"]


def test_words_of_more_than_50_letters_are_ignored(api):
    for project in ("web", "api"):
        api.add(f"{'x' * 50} {'y' * 51} {project}", repo_id=project)
    assert list_common_words(api) == ["x" * 50]


def test_insight_counts_for_all_its_projects(api, namespace):
    insert_insight(namespace, "Deploys are safe on Fridays, mostly.", "web", "payments-secret-keys")
    [deploys, *_] = [each for each in get_patterns(api)["common"] if each["word"] == "deploys"]
    assert deploys["names"] == sorted([redact_project_name("payments-secret-keys"), "web"])


def test_expired_memories_and_other_namespaces_do_not_count(api, outsider):
    pk = api.add("harbour in web", repo_id="web")["id"]
    api.add("harbour in api", repo_id="api")
    assert list_common_words(api) == ["harbour"]
    assert get_patterns(outsider) == {"activity": [], "common": []}
    Memory.objects.filter(pk=pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert list_common_words(api) == []


def test_patterns_take_one_statement(api, takes):
    api.add("harbour in web", repo_id="web")
    with takes(1):
        get_patterns(api)


@pytest.mark.parametrize("query", ["?days=0", "?days=3651", "?limit=0", "?limit=101", "?days=x", "?since=1"])
def test_invalid_values_are_refused(api, query):
    assert is_problem(api.get(f"/projects/patterns{query}"), 422)
