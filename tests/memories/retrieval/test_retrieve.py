"""Retrieval finds what matters to a user, and nothing when nothing matters."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.conf import settings as project
from django.test import override_settings

from memories import tasks
from memories.models import Memory
from memory_site.core.caches import clear_all_caches
from sessions_app.models import SCOPES, ApiKey, Namespace
from tests.conftest import Api
from tests.memories.retrieval.business import CASE, DEAL, build_lookalikes, build_target
from tests.wire import fingerprint_tables, is_problem, run_at_once

pytestmark = pytest.mark.django_db
ONNX_SETTINGS = {"BACKEND": "memories.embeddings.onnx.OnnxEmbedder", "MODEL": "all-MiniLM-L6-v2", "OPTIONS": {}}
WEIGHTS = {"words": 0.35, "meaning": 0.35, "nearness": 0.10, "recency": 0.12, "base_relevance": 0.08}


def retrieve(api, query: str, user: str = "ada", **fields: object) -> list[dict]:
    response = api.post(f"/users/{user}/retrieve", {"query": query, **fields})
    assert response.status_code == 200, response.content
    return response.json()["results"]


def list_contents(hits: list[dict]) -> list[str]:
    return [hit["memory"]["content"] for hit in hits]


def list_ids(hits: list[dict]) -> list[str]:
    return [hit["memory"]["id"] for hit in hits]


def format_time_ago(**time: float) -> str:
    return str(datetime.now(UTC) - timedelta(**time))


def add_memory(api, content: str, **fields: object) -> str:
    return api.add(content, **{"user_id": "ada", **fields})["id"]


#: The test model and the real one.
MODELS = {"hashing": project.EMBEDDINGS, "onnx": {"default": ONNX_SETTINGS}}


@pytest.fixture(scope="module", params=MODELS)
def stored_business(request, module_transaction) -> tuple[str, Api]:
    """Store the two targets among five hundred look-alikes, once for each model. Return the model's name too."""
    namespace = Namespace.objects.create(name=f"business in {request.param}")
    api = Api(ApiKey.objects.issue(namespace, scopes=SCOPES)[1])
    every = [*build_lookalikes(), build_target(DEAL), build_target(CASE)]
    with override_settings(EMBEDDINGS=MODELS[request.param]):
        clear_all_caches()
        assert api.post("/memories/bulk", {"memories": every}).status_code == 201
        tasks.embed_due()
    clear_all_caches()
    return request.param, api


@pytest.fixture
def business(stored_business, db, settings) -> Api:
    model, api = stored_business
    settings.EMBEDDINGS = MODELS[model]
    clear_all_caches()
    return api


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("how big is the acme deal?", True),
        ("how large is the Acme opportunity", True),
        ("best pizza with garlic", False),
    ],
)
def test_a_paraphrased_question_finds_the_answer_among_few_memories(api, settings, query, found):
    settings.EMBEDDINGS = {"default": ONNX_SETTINGS}
    clear_all_caches()
    record = {"attributes": {"type": "Opportunity"}, "Id": "0065g00000XyZ12AAB", "Name": "Acme Enterprise License"}
    result = {"records": [record | {"Amount": 250000, "AccountId": "0015g00000AbC34AAA"}]}
    body = {"user_id": "ada", "agent_id": "crm", "tool": "salesforce", "result": result}
    assert api.post("/tool-results", body).status_code == 201
    tasks.embed_due()
    assert len(retrieve(api, query)) == (2 if found else 0)


PHRASES = [
    ("006Hs00001AbCdEIAV", DEAL),
    ("006hs00001abcdeiav", DEAL),
    ("Acme Corp Enterprise License 250,000", DEAL),
    ("acme corp enterprise license", DEAL),
    ("license enterprise corp ACME", DEAL),
    ("$250,000", DEAL),
    ("250000", DEAL),
    ("the 250k deal", DEAL),
    ("acme 250000", DEAL),
    ("what is the status of the Acme enterprise license opportunity?", DEAL),
    ("500Hs00001XyZwVIAV", CASE),
    ("500Hs00001XyZwV", CASE),
    ("Case 98231", CASE),
    ("98231", CASE),
    ("globex freight", CASE),
    ("GLOBEX FREIGHT WAREHOUSE SCANNER", CASE),
    ("connection scanner warehouse", CASE),
    ("the scanner in the warehouse loses its connection", CASE),
    ("tell me about https://example.org/lightning/r/500Hs00001XyZwVIAV/view", CASE),
    ("high priority case of Globex", CASE),
]
NONSENSE_QUERIES = [
    "zxqv blorptang", "purple elephant dancing algebra", "qwerty zxcvb", "banana volcano trombone", "flurb",
    "medieval castle knitting recipe", "xyzzy plugh", "kangaroo", "lorem ipsum dolor sit amet", "!!!???",
    "moonlight sonata piano tuning", "unicorn rainbow glitter", "the of and", "PROJ-99999", "777777", "$4,321,987",
    "006Hs00001NoNeNIAV", "how tall is the eiffel tower",
]  # fmt: skip


def test_every_phrase_ranks_its_target_first(business):
    wrong = {}
    for phrase, wanted in PHRASES:
        found = list_contents(retrieve(business, phrase))
        if found[:1] != [wanted["content"]]:
            wrong[phrase] = found[:2]
    assert not wrong


def test_nonsense_finds_nothing(business):
    found = {query: list_contents(retrieve(business, query))[:2] for query in NONSENSE_QUERIES}
    assert not {query: hits for query, hits in found.items() if hits}
    assert not Memory.objects.filter(access_count__gt=0).exists()


def test_a_specific_query_finds_little_else(business):
    assert list_contents(retrieve(business, "scanner 98231 connection"))[0] == CASE["content"]
    assert list_contents(retrieve(business, "250000")) == [DEAL["content"]]
    acme = list_contents(retrieve(business, "Acme Corp", limit=100))
    assert all("Acme Corp" in content for content in acme[:4])
    assert sum("Acme Corp" in content for content in acme[:8]) == 6


def test_a_broad_query_finds_many(business):
    hits = retrieve(business, "opportunities in negotiation", limit=100)
    assert len(hits) == 100
    assert all("Opportunity" in content for content in list_contents(hits)[:10])


# By id


@pytest.fixture
def issues(api) -> dict[str, str]:
    """Return the memory ids of entities of the user ada, by entity id."""
    keys = ["PROJ-123", "PROJ-124", "proj-124", "INC0010023"]
    return {key: add_memory(api, f"Issue {key} is open.", entity={"system": "jira", "id": key}) for key in keys}


def test_an_id_alone_finds_only_its_entity(api, issues):
    for query in ("PROJ-123", "proj-123", " (PROJ-123)? ", "PROJ-123!"):
        [hit] = retrieve(api, query)
        assert hit["memory"]["id"] == issues["PROJ-123"]
        assert (hit["score"], hit["found_by"], hit["parts"]) == (1.0, ["id"], None)


@pytest.mark.parametrize("key", ["straße-1", "ﬁx-9", "ŉ7"])
def test_an_id_with_letters_without_upper_case_is_found(api, key):
    own = add_memory(api, "a strange ticket", entity={"system": "jira", "id": key})
    assert list_ids(retrieve(api, key)) == [own]


def test_two_ids_find_both_entities(api, issues):
    assert set(list_ids(retrieve(api, "PROJ-123, INC0010023"))) == {issues["PROJ-123"], issues["INC0010023"]}


def test_an_exact_id_excludes_ids_that_differ_in_case(api, issues):
    assert list_ids(retrieve(api, "PROJ-124")) == [issues["PROJ-124"]]
    assert list_ids(retrieve(api, "proj-124")) == [issues["proj-124"]]
    assert set(list_ids(retrieve(api, "Proj-124"))) == {issues["PROJ-124"], issues["proj-124"]}


def test_an_id_among_words_ranks_first(api, issues):
    other = add_memory(api, "The harbour master asked about the broken crane.")
    tasks.embed_due()
    found = list_ids(retrieve(api, "what did the harbour master say of the broken crane and PROJ-123?"))
    assert found[0] == issues["PROJ-123"]
    assert other in found
    assert len(found) == len(set(found))


def test_an_id_of_another_user_is_not_found(api, issues):
    assert retrieve(api, "PROJ-123", user="ben") == []


def test_filters_apply_to_ids(api, issues):
    assert list_ids(retrieve(api, "PROJ-123", memory_types=["insight"])) == []


def test_a_salesforce_id_is_found_in_both_lengths(api):
    long = add_memory(api, "Contact Ada", entity={"system": "salesforce", "id": "00130000000gcNFAAY"})
    short = add_memory(api, "Contact Ben", entity={"system": "salesforce", "id": "0031300000xYzAb"})
    assert list_ids(retrieve(api, "00130000000gcNF")) == [long]
    assert list_ids(retrieve(api, "0031300000xYzAb")) == [short]
    assert api.get(f"/memories/{short}").json()["entity"]["id"] == "0031300000xYzAbAAK"
    assert list_ids(retrieve(api, "0031300000xYzAbAAK")) == [short]


# Ranking


def test_a_new_memory_ranks_before_one_ten_hours_old(api):
    for kind in ("agent", "business_fact", "tool_output"):
        text = f"The ferry contract is signed, noted by {{}}. {kind}"
        old = add_memory(api, text.format("Ada"), memory_type=kind, created_at=format_time_ago(hours=10))
        new = add_memory(api, text.format("Ben"), memory_type=kind)
        tasks.embed_due()
        assert list_ids(retrieve(api, "ferry contract", memory_types=[kind])) == [new, old]


def test_a_higher_base_relevance_ranks_first(api):
    low = add_memory(api, "The ferry contract is signed, noted by Ada.", base_relevance=0.1)
    high = add_memory(api, "The ferry contract is signed, noted by Ben.", base_relevance=0.9)
    tasks.embed_due()
    assert list_ids(retrieve(api, "ferry contract")) == [high, low]


def add_relationship(api, start: str, finish: str, strength: float = 1.0) -> None:
    body = {"to_id": finish, "type": "relates_to", "strength": strength}
    assert api.post(f"/memories/{start}/relationships", body).status_code == 201


def test_memories_near_an_anchor_rank_first(api):
    notes = [add_memory(api, f"The ferry contract is signed, note {number}.") for number in range(6)]
    here, between = add_memory(api, "Where the caller stands."), add_memory(api, "A memory in between.")
    add_relationship(api, notes[4], here)
    add_relationship(api, here, between)
    add_relationship(api, between, notes[2])
    add_relationship(api, notes[1], here, strength=0.2)
    tasks.embed_due()
    hits = retrieve(api, "ferry contract", near=[here])
    nearness = {hit["memory"]["id"]: hit["parts"]["nearness"] for hit in hits}
    assert nearness == pytest.approx(dict.fromkeys(notes, 0) | {notes[4]: 0.5, notes[2]: 0.25, notes[1]: 0.1})
    assert list_ids(hits)[:3] == [notes[4], notes[2], notes[1]]
    assert here not in nearness, "nearness alone is no reason to be found"


def test_relationships_of_another_user_do_not_count_as_near(api, outsider):
    mine = add_memory(api, "The ferry contract is signed.")
    theirs = [add_memory(api, f"Ben's memory {number}", user_id="ben") for number in range(2)]
    add_relationship(api, *theirs)
    tasks.embed_due()
    for near in (theirs, ["00000000-0000-0000-0000-000000000000"]):
        [hit] = retrieve(api, "ferry contract", near=near)
        assert (hit["memory"]["id"], hit["parts"]["nearness"]) == (mine, 0)


def test_the_score_is_the_weighted_sum_of_its_parts(api):
    for number in range(20):
        fields = {"created_at": format_time_ago(hours=number), "base_relevance": number / 20}
        add_memory(api, f"The ferry contract is signed, note {number}.", **fields)
    tasks.embed_due()
    hits = retrieve(api, "ferry contract note 7", limit=20)
    assert len(hits) > 5
    for hit in hits:
        assert set(hit["parts"]) == set(WEIGHTS)
        assert all(0 <= part <= 1 for part in hit["parts"].values())
        assert hit["score"] == pytest.approx(sum(WEIGHTS[name] * part for name, part in hit["parts"].items()))
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


# Filters


@pytest.fixture
def ferries(api) -> dict[str, str]:
    """Return the ids of notes by their differences."""
    kinds = {
        "plain": {},
        "typed": {"memory_type": "business_fact"},
        "old": {"created_at": format_time_ago(hours=100)},
        "tagged": {"tags": ["a", "b"]},
        "half tagged": {"tags": ["a"]},
        "weak": {"base_relevance": 0.2},
    }
    found = {
        name: add_memory(api, f"The ferry contract is signed, {name}.", **fields) for name, fields in kinds.items()
    }
    add_memory(api, "The ferry contract is signed, says Ben.", user_id="ben")
    tasks.embed_due()
    return found


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, {"plain", "typed", "old", "tagged", "half tagged", "weak"}),
        ({"memory_types": ["business_fact"]}, {"typed"}),
        ({"memory_types": ["business_fact", "insight"], "max_age_hours": 99}, {"typed"}),
        ({"max_age_hours": 101}, {"plain", "typed", "old", "tagged", "half tagged", "weak"}),
        ({"max_age_hours": 0}, set()),
        ({"required_tags": ["a"]}, {"tagged", "half tagged"}),
        ({"required_tags": ["a", "b"]}, {"tagged"}),
        ({"excluded_tags": ["b", "c"]}, {"plain", "typed", "old", "half tagged", "weak"}),
        ({"required_tags": ["a"], "excluded_tags": ["b"]}, {"half tagged"}),
        ({"min_relevance": 0.5}, {"plain", "typed", "tagged", "half tagged"}),
        ({"min_relevance": 0.05}, {"plain", "typed", "old", "tagged", "half tagged", "weak"}),
    ],
)  # fmt: skip
def test_filters_restrict_the_results(api, ferries, filters, found):
    assert set(list_ids(retrieve(api, "ferry contract", **filters))) == {ferries[name] for name in found}


def test_the_age_of_an_entity_is_measured_from_its_last_update(api):
    entity = {"system": "jira", "id": "A-1"}
    own = add_memory(api, "The ferry contract is open.", entity=entity, created_at=format_time_ago(hours=100))
    assert retrieve(api, "A-1", max_age_hours=1) == []
    assert add_memory(api, "The ferry contract is signed.", entity=entity) == own
    assert list_ids(retrieve(api, "A-1", max_age_hours=1)) == [own]


def test_a_filter_is_applied_before_the_limit(api):
    for number in range(60):
        add_memory(api, f"The ferry contract is signed, {number}.", tags=["noise"])
    kept = add_memory(api, "Far away somebody spoke of a ferry and of a contract that nobody ever signed, long ago.")
    tasks.embed_due()
    assert list_ids(retrieve(api, "ferry contract signed", limit=3, excluded_tags=["noise"])) == [kept]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": ""},
        {"query": "a", "limit": 101},
        {"query": "a", "max_age_hours": -1},
        {"query": "a", "min_relevance": 1.1},
        {"query": "a", "near": ["x"]},
        {"query": "a", "memory_types": ["x"]},
        {"query": "a", "user_id": "ben"},
    ],
    ids=str,
)
def test_an_invalid_body_is_refused(api, body):
    assert is_problem(api.post("/users/ada/retrieve", body), 422)


@pytest.mark.parametrize(
    "query", ['"', "-", "-ferry", '"ferry 250,000"', "%s %(nonsense0)s", "$", "1k", "-250000", "🐈"]
)
def test_odd_queries_are_no_error(api, ferries, query):
    retrieve(api, query)


def test_a_dash_excludes_nothing(api, ferries):
    assert ferries["old"] in list_ids(retrieve(api, "ferry contract -old"))


def test_a_query_of_phrases_requires_them(api, ferries):
    assert list_ids(retrieve(api, '"signed, old"')) == [ferries["old"]]


# Amounts


@pytest.mark.parametrize("written", ["250,000", "250000", "$250,000", "250k", "$250K"])
@pytest.mark.parametrize("query", ["250,000", "250000", "$250,000", "250k", "€250000", "deals of 250K"])
def test_an_amount_is_found_in_any_form(api, written, query):
    wanted = add_memory(api, f"A deal of {written} with Acme.")
    for number in (25_000, 260_000, 2_500_000, 350_000):
        add_memory(api, f"A deal of {number:,} with Acme.")
    tasks.embed_due()
    assert list_ids(retrieve(api, query))[0] == wanted


# Accesses, permissions, failures


def test_each_result_is_counted_once(api, ferries):
    found = list_ids(retrieve(api, "ferry contract", limit=2))
    assert set(map(str, Memory.objects.filter(access_count=1).values_list("pk", flat=True))) == set(found)
    assert Memory.objects.filter(access_count=0).count() == 5


def test_a_retry_with_the_same_key_counts_once(api, ferries):
    for _ in range(2):
        api.post("/users/ada/retrieve", {"query": "ferry contract"}, **{"Idempotency-Key": "one"})
    assert set(Memory.objects.filter(user_id="ada").values_list("access_count", flat=True)) == {1}


def test_a_user_id_may_contain_slashes(api):
    own = add_memory(api, "The ferry contract is signed.", user_id="acme/ada")
    assert list_ids(retrieve(api, "ferry contract", user="acme/ada")) == [own]
    assert api.get("/users/acme/ada").status_code == 200


def test_another_namespace_is_neither_searched_nor_counted(outsider, issues, ferries):
    before = fingerprint_tables()
    assert retrieve(outsider, "ferry contract PROJ-123") == []
    assert fingerprint_tables() == before


def test_retrieval_requires_write_access(reader, ferries):
    assert is_problem(reader.post("/users/ada/retrieve", {"query": "ferry"}), 403)


def test_retrieval_takes_three_statements_after_authentication(api, ferries, takes):
    with takes(3):
        assert len(retrieve(api, "ferry contract")) == 6
    with takes(3):
        retrieve(api, "ferry contract", near=[ferries["old"]], min_relevance=0.1, excluded_tags=["x"])


def test_without_the_embedder_retrieval_searches_words_only(api, ferries, embedder):
    embedder("Away")
    answer = api.post("/users/ada/retrieve", {"query": "ferry contract"}).json()
    assert (len(answer["results"]), answer["degraded"]) == (6, True)
    assert retrieve(api, "zxqv blorptang") == []


def test_a_memory_that_is_not_embedded_yet_is_found_by_its_words(api, ferries):
    fresh = add_memory(api, "The harbour master is called Moira.")
    assert list_ids(retrieve(api, "harbour master Moira")) == [fresh]


@pytest.mark.django_db(transaction=True)
def test_concurrent_writes_and_retrievals_succeed(api):
    def write(writer: int) -> list[int]:
        return [
            api.post("/memories", {"content": f"Ferry note {number} of writer {writer}.", "user_id": "ada"}).status_code
            for number in range(50)
        ]

    def read(reader: int) -> list[int]:
        bodies = [{"query": f"ferry note {number} writer {reader}", "limit": 20} for number in range(20)]
        return [api.post("/users/ada/retrieve", body).status_code for body in bodies]

    answers = run_at_once([*(partial(write, n) for n in range(5)), *(partial(read, n) for n in range(3))])
    assert {status for codes in answers[:5] for status in codes} == {201}
    assert {status for codes in answers[5:] for status in codes} == {200}
    assert Memory.objects.filter(user_id="ada").count() == 250


# Recency and neighbours


SUPPLIERS = ("Acme Foods", "Borealis Catering", "Corvina Kitchens", "Delta Gourmet", "Esker Meals")


@pytest.mark.parametrize(
    "query", ["that supplier", "the supplier we selected", "which supplier was chosen for the canteen?"]
)
def test_the_newest_of_texts_that_differ_in_names_only_is_first(api, settings, query):
    settings.EMBEDDINGS = {"default": ONNX_SETTINGS}
    clear_all_caches()
    for newest in range(len(SUPPLIERS)):
        user = f"user {newest}"
        for number, supplier in enumerate(SUPPLIERS):
            age = 0 if number == newest else 12 * (1 + number)
            made = format_time_ago(hours=age, minutes=1)
            add_memory(api, f"Selected {supplier} as the supplier of the canteen.", user_id=user, created_at=made)
        tasks.embed_due()
        hits = api.post(f"/users/{user}/retrieve", {"query": query}).json()["results"]
        assert SUPPLIERS[newest] in hits[0]["memory"]["content"]


def test_a_clearly_better_text_is_not_overtaken_by_a_new_one(api, settings):
    settings.EMBEDDINGS = {"default": ONNX_SETTINGS}
    clear_all_caches()
    add_memory(api, "Selected Acme Foods as the supplier of the canteen.", created_at=format_time_ago(days=30))
    for topic in ("heating", "car park", "roof", "garden"):
        add_memory(api, f"The supplier of the {topic} sent an invoice for May.")
    tasks.embed_due()
    assert "Acme" in list_contents(retrieve(api, "who is the supplier of the canteen?"))[0]


def test_the_neighbour_of_what_the_words_found_is_lifted(api):
    found = add_memory(api, "Globex signed the harbour contract.")
    neighbour, stranger = (
        add_memory(api, f"Payments for the harbour are due in {month}.") for month in ("May", "June")
    )
    link = {"to_id": neighbour, "type": "led_to", "strength": 1}
    assert api.post(f"/memories/{found}/relationships", link).status_code == 201
    tasks.embed_due()
    hits = {hit["memory"]["id"]: hit for hit in retrieve(api, "Globex contract of the harbour")}
    assert next(iter(hits)) == found
    assert hits[neighbour]["parts"]["nearness"] > 0.1 > hits[stranger]["parts"]["nearness"] == 0
    assert hits[neighbour]["score"] > hits[stranger]["score"]
