"""Finding insights that say the same as a text, or nearly the same."""

from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from memories.insights.deduplication import SELECT_DUPLICATE_CANDIDATES_SQL
from memories.insights.minhash import compute_shingles, jaccard_similarity, normalise_text
from memories.insights.models import Insight
from memories.insights.storage import InsightDraft, save_insights
from memories.models import Memory
from tests.memories.insights.samples import LAZY_LESSON, LETTERS, SIMILAR_LAZY_LESSON, add_insight, get_insight

pytestmark = pytest.mark.django_db


# Duplicates


@pytest.mark.parametrize(
    "again",
    [LAZY_LESSON, LAZY_LESSON.upper(), f"  “{LAZY_LESSON}” !", SIMILAR_LAZY_LESSON],
    ids=["same", "capitals", "marks", "near"],
)
def test_same_or_nearly_same_insight_is_stored_once(api, again):
    first = add_insight(api)
    response = api.post("/insights", {"content": again, "user_id": "ben"})
    assert response.status_code == 200
    assert (response.json()["id"], response.json()["created"]) == (first["id"], False)
    assert (response.json()["content"], response.json()["user_id"]) == (LAZY_LESSON, None)
    assert (Memory.objects.count(), Insight.objects.count()) == (1, 1)


def test_sample_texts_are_near_duplicates():
    assert (
        0.85
        <= jaccard_similarity(
            compute_shingles(normalise_text(LAZY_LESSON)), compute_shingles(normalise_text(SIMILAR_LAZY_LESSON))
        )
        < 1
    )


def build_text_of_similarity(share: float) -> str:
    """Return a text of about this similarity to LETTERS."""
    return LETTERS[: round(len(LETTERS) * share)]


@pytest.mark.parametrize(("share", "same"), [(0.80, False), (0.84, False), (0.852, True), (0.90, True)])
def test_near_duplicates_begin_at_a_similarity_of_85_percent(api, share, same):
    first, again = add_insight(api, LETTERS), add_insight(api, build_text_of_similarity(share))
    assert (again["id"] == first["id"]) is same


def test_most_similar_insight_is_merged(api):
    first, second = add_insight(api, LETTERS), add_insight(api, build_text_of_similarity(0.8))
    assert add_insight(api, build_text_of_similarity(0.98))["id"] == first["id"]
    assert add_insight(api, build_text_of_similarity(0.82))["id"] == second["id"]


RETRY = "The payment retry must be enabled during deploys because the gateway drops one request in a hundred."
CORRECTIONS = [
    (RETRY, RETRY.replace("must be", "must not be")),
    (RETRY, RETRY.replace("must be", "mustn’t be")),
    (RETRY, RETRY.replace("must", "should never")),
    (RETRY, RETRY.replace("enabled", "disabled")),
    (RETRY, RETRY.replace("during", "before")),
    (RETRY, RETRY.replace("because", "unless they are short, because") + " Always."),
    (
        "The gateway gives up on a request after 30 seconds.",
        "The gateway gives up on a request after 90 seconds.",
    ),
    (
        "The gateway gives up on a request after 30 seconds.",
        "The gateway gives up on a request after 30 minutes.",
    ),
    (
        "A call of the gateway is tried three times before it fails.",
        "A call of the gateway is tried five times before it fails.",
    ),
    (
        "Postgres 15 is the least version that the site is tested with.",
        "Postgres 17 is the least version that the site is tested with.",
    ),
    (
        "Our client of the search service needs httpx 0.27 or later.",
        "Our client of the search service needs httpx 0.28 or later.",
    ),
    (
        "Raise the limit from 20 to 50 before the sale begins on Friday.",
        "Raise the limit from 50 to 20 before the sale begins on Friday.",
    ),
    (
        "Sharing a cursor among the threads of a worker is safe here.",
        "Sharing a cursor among the threads of a worker is unsafe here.",
    ),
    (
        "The offset of the clock in the Berlin office is set to 2 hours.",
        "The offset of the clock in the Berlin office is set to -2 hours.",
    ),
    (
        "The job may only run if state == DONE in the table of the jobs.",
        "The job may only run if state != DONE in the table of the jobs.",
    ),
    (
        "Write the parser of the invoices in C# and keep the tests small.",
        "Write the parser of the invoices in C and keep the tests small.",
    ),
    (
        "Der Wiederholversuch muss beim Ausrollen eingeschaltet sein.",
        "Der Wiederholversuch muss beim Ausrollen nicht eingeschaltet sein.",
    ),
    (
        "La relance des paiements est active pendant les livraisons.",
        "La relance des paiements n’est pas active pendant les livraisons.",
    ),
    (
        "Повтор платежей должен быть включён во время выкладки.",
        "Повтор платежей не должен быть включён во время выкладки.",
    ),
]


@pytest.mark.parametrize(("first", "correction"), CORRECTIONS)
def test_a_correction_is_stored_beside_what_it_corrects(api, first, correction):
    stored, corrected = add_insight(api, first, projects=["shop"]), add_insight(api, correction, projects=["billing"])
    assert (corrected["created"], corrected["content"]) == (True, correction)
    assert api.get(f"/insights/{stored['id']}").json()["projects"] == ["shop"]
    assert corrected["projects"] == ["billing"]
    assert add_insight(api, correction.upper())["id"] == corrected["id"]


@pytest.mark.parametrize(("first", "correction"), CORRECTIONS)
def test_a_correction_in_the_same_request_is_stored_as_well(namespace, first, correction):
    with transaction.atomic():
        save_insights(namespace.pk, [InsightDraft(first, projects=["a"]), InsightDraft(correction, projects=["b"])])
    assert sorted(Insight.objects.values_list("memory__content", "projects")) == sorted(
        [(first, ["a"]), (correction, ["b"])]
    )


@pytest.mark.parametrize(
    "again",
    [
        RETRY.replace("must be", "has to be"),
        RETRY.replace("during deploys", "during a deploy"),
        RETRY.replace("gateway", "gatewy"),
        f"Note: {RETRY}",
    ],
)
def test_a_rewording_is_merged(api, again):
    assert add_insight(api, again)["id"] == add_insight(api, RETRY)["id"]


@pytest.mark.parametrize(("one", "other"), [("can't", "cannot"), ("don’t", "do not"), ("isn't", "is not")])
def test_contracted_negations_are_the_same(api, one, other):
    texts = [f"The worker {each} wait for a lock of the row that a web request holds." for each in (one, other)]
    assert add_insight(api, texts[0])["id"] == add_insight(api, texts[1])["id"]


def test_namespaces_are_deduplicated_separately(api, outsider):
    assert add_insight(api)["id"] != add_insight(outsider)["id"]
    assert add_insight(outsider, SIMILAR_LAZY_LESSON)["created"] is False
    assert Insight.objects.count() == 2


def test_expired_insight_is_replaced(api):
    old = add_insight(api)
    Memory.objects.update(expires_at=timezone.now())
    assert api.get(f"/insights/{old['id']}").status_code == 404
    assert add_insight(api)["created"] is True
    assert get_insight().pk != UUID(old["id"])


def test_expired_near_duplicate_is_ignored(api):
    old = add_insight(api)
    Memory.objects.update(expires_at=timezone.now())
    assert add_insight(api, SIMILAR_LAZY_LESSON)["id"] != old["id"]


def test_duplicates_within_one_request_are_merged(namespace):
    with transaction.atomic():
        save_insights(
            namespace.pk,
            [InsightDraft(LAZY_LESSON, projects=["a"]), InsightDraft(SIMILAR_LAZY_LESSON, projects=["b"], quality=1.0)],
        )
    assert (get_insight().projects, get_insight().quality) == (["a", "b"], 1.0)


def test_candidates_are_found_by_the_index_of_bands(namespace):
    with transaction.atomic():
        save_insights(
            namespace.pk, [InsightDraft(f"{LETTERS[n : n + 40]} is a text of its own.") for n in range(0, 900, 3)]
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE insights_insight")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN " + SELECT_DUPLICATE_CANDIDATES_SQL,
            {"namespace": namespace.pk, "texts": '[{"position":0,"digest":"00","bands":[1]}]'},
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "insight_bands" in plan
    assert "insight_is_kept_once" in plan


# Constraints and foreign keys


def test_database_refuses_a_second_same_insight(api, namespace):
    add_insight(api)
    memory = Memory.objects.create(namespace=namespace, content="other", source_system="test")
    stored = get_insight()
    with pytest.raises(IntegrityError, match="insight_is_kept_once"), transaction.atomic():
        Insight.objects.create(memory=memory, namespace=namespace, quality=1, digest=stored.digest, bands=[])
