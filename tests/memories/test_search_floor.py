"""The searches that feed agents leave out what has nothing in common with the query."""

import pytest
from django.test import override_settings

from memories import tasks
from memories.search.floor import find_script
from memory_site.core.caches import clear_all_caches
from sessions_app.models import SCOPES, ApiKey, Namespace
from tests.conftest import Api
from tests.memory_site.mcp_server.agent import Agent

pytestmark = pytest.mark.django_db
ONNX = {"BACKEND": "memories.embeddings.onnx.OnnxEmbedder", "MODEL": "all-MiniLM-L6-v2-int8", "OPTIONS": {}}
FACTS = (
    "The quarterly invoice of the harbour office is due on Friday.",
    "Ada prefers green tea to coffee in the morning.",
    "Deploys of the billing service need two approvals.",
)
FLOORED = (
    ("/search", "results", "memory"),
    ("/context", "memories", "memory"),
    ("/knowledge/query", "results", "memory"),
    ("/insights/search", "results", "insight"),
    ("/projects/search", "results", "memory"),
)
EVERY_FLOORED = pytest.mark.parametrize(("path", "hits", "kind"), FLOORED, ids=[path for path, _, _ in FLOORED])
EVERY_PLAIN = pytest.mark.parametrize("path", ["/memories/search", "/memories/recall"])
NONSENSE = ("how tall is the Eiffel tower?", "velvet thunder umbrella", "recipe for pizza dough", "zorgon blarft")


@pytest.fixture(scope="module")
def stored_facts(module_transaction) -> Api:
    """Three unrelated facts in each place that is searched, embedded by the real model."""
    api = Api(ApiKey.objects.issue(Namespace.objects.create(name="facts"), scopes=SCOPES)[1])
    with override_settings(EMBEDDINGS={"default": ONNX}):
        clear_all_caches()
        for fact in FACTS:
            api.add(fact, memory_type="rag", repo_id="office")
            api.post("/insights", {"content": fact, "projects": ["office"]})
        tasks.embed_due()
    clear_all_caches()
    return api


@pytest.fixture
def three(stored_facts, db, settings) -> Api:
    settings.EMBEDDINGS = {"default": ONNX}
    clear_all_caches()
    return stored_facts


def ask(api, path: str, query: str, **fields: object) -> dict:
    project = {"project": "office"} if path == "/projects/search" else {}
    response = api.post(path, {"query": query, **project, **fields})
    assert response.status_code == 200, response.content
    return response.json()


def list_found(answer: dict, hits: str, kind: str) -> list[str]:
    return [hit[kind]["content"] for hit in answer[hits]]


@EVERY_FLOORED
@pytest.mark.parametrize("query", NONSENSE)
def test_a_question_about_nothing_finds_nothing(three, path, hits, kind, query):
    answer = ask(three, path, query)
    assert (list_found(answer, hits, kind), answer["floor"]) == ([], 0.25)


@EVERY_FLOORED
def test_a_question_finds_its_answer_and_little_else(three, path, hits, kind):
    for question, fact in (
        ("when must the harbour be paid?", FACTS[0]),
        ("what does Ada like to drink?", FACTS[1]),
        ("who has to approve a deployment of billing?", FACTS[2]),
    ):
        assert set(list_found(ask(three, path, question), hits, kind)) == {fact}


@EVERY_FLOORED
def test_the_floor_can_be_switched_off(three, path, hits, kind):
    answer = ask(three, path, NONSENSE[0], floor=0)
    assert (set(list_found(answer, hits, kind)), answer["floor"]) == (set(FACTS), 0)


@EVERY_FLOORED
def test_a_higher_floor_leaves_out_more(three, path, hits, kind):
    answer = ask(three, path, "what does Ada like to drink?", floor=0.95)
    assert (list_found(answer, hits, kind), answer["floor"]) == ([], 0.95)


@EVERY_FLOORED
@pytest.mark.parametrize("floor", [-0.1, 1.1, "high"])
def test_a_floor_is_0_to_1(api, path, hits, kind, floor):
    project = {"project": "office"} if path == "/projects/search" else {}
    assert api.post(path, {"query": "tea", "floor": floor, **project}).status_code == 422


@pytest.mark.parametrize("query", ["緑の電話は踊る", "무지개 청소기", "чайник радуги", "紫色的电话", "โทรศัพท์สีม่วง"])
def test_what_an_english_model_cannot_read_is_not_found_by_chance(three, query):
    for text in ("客户王小明喜欢喝乌龙茶。", "田中さんは緑茶が好きです。", "ลูกค้าชอบกาแฟเย็น", "Привет из Москвы"):
        three.add(text, user_id="ada")
    tasks.embed_due()
    assert ask(three, "/search", query)["results"] == []
    assert ask(three, "/users/ada/retrieve", query)["results"] == []
    assert [hit["memory"]["content"] for hit in ask(three, "/search", "王小明")["results"]] == [
        "客户王小明喜欢喝乌龙茶。"
    ]


@pytest.mark.parametrize(
    ("query", "content"),
    [
        ("杨磊洋喜欢什么？", "客户杨磊洋的朋友询问过手机，编号10005。"),
        ("谁负责库存?", "上海的库存由李娜负责。"),
        ("田中さんの趣味は何ですか", "田中さんの趣味は釣りです。"),
        ("배포는 언제?", "배포는 화요일 열 시에 합니다."),
    ],
)
def test_a_question_without_spaces_finds_its_answer(three, query, content):
    for text in (content, "会议九点开始，三楼的房间没有暖气。", "来週、鈴木さんと設計について話します。"):
        three.add(text, user_id="ada")
    tasks.embed_due()
    assert list_found(ask(three, "/search", query), "results", "memory")[:1] == [content]
    assert list_found(ask(three, "/users/ada/retrieve", query), "results", "memory")[:1] == [content]


def test_words_decide_while_the_embedder_is_away(three, embedder):
    embedder("Away", "all-MiniLM-L6-v2-int8")
    assert list_found(ask(three, "/search", "velvet thunder umbrella"), "results", "memory") == []
    assert list_found(ask(three, "/search", "green tea"), "results", "memory") == [FACTS[1]]


@EVERY_PLAIN
def test_a_plain_search_has_no_floor_unless_it_asks_for_one(three, path):
    answer = ask(three, path, NONSENSE[0])
    assert (len(answer["results"]), answer["floor"]) == (6, 0)
    for floor, level in ((None, 0.25), (0.95, 0.95)):
        answer = ask(three, path, NONSENSE[0], floor=floor)
        assert (answer["results"], answer["floor"]) == ([], level)
    found = ask(three, path, "what does Ada like to drink?", floor=None)
    assert set(list_found(found, "results", "memory")) == {FACTS[1]}


@EVERY_PLAIN
@pytest.mark.parametrize("mode", ["vector", "text"])
def test_a_plain_search_with_a_floor_answers_in_every_mode(three, path, mode):
    answer = ask(three, path, "green tea", mode=mode, floor=None)
    assert (set(list_found(answer, "results", "memory")), answer["mode"]) == ({FACTS[1]}, mode)


def test_a_floor_compares_a_given_vector_with_nonsense(three):
    vector = [1.0] + [0.0] * 767
    answer = three.search(None, vector=vector, floor=None)
    assert (answer["results"], answer["floor"]) == ([], 0.25)


@pytest.mark.parametrize("scopes", [("read",), ("read", "write")], ids="-".join)
def test_what_a_model_recalls_has_something_in_common_with_its_question(three, scopes):
    namespace = Namespace.objects.get(name="facts")
    agent = Agent(Api(ApiKey.objects.issue(namespace, scopes=scopes)[1]))
    assert agent.data("recall", query=NONSENSE[0])["results"] == []
    assert agent.call("recall", query=NONSENSE[0]).text == "Nothing was found. Try other words, or fewer filters."
    found = agent.data("recall", query="what does Ada like to drink?")["results"]
    assert {hit["content"] for hit in found} == {FACTS[1]}


@pytest.mark.parametrize(
    ("query", "script"),
    [
        ("plain words", "LATIN"), ("Ünïcödé", "LATIN"), ("123 !?", "LATIN"), ("", "LATIN"), ("ქართული", "LATIN"),
        ("王小明喜欢docker", "CJK"), ("設計について", "HIRAGANA"), ("コーヒー", "HIRAGANA"), ("배포", "HANGUL"),
        ("กาแฟ", "THAI"), ("Заря", "CYRILLIC"), ("مرحبا", "ARABIC"), ("हिन्दी", "DEVANAGARI"), ("שלום", "HEBREW"),
        ("λιμάνι", "GREEK"),
    ],
)  # fmt: skip
def test_the_script_of_a_query_is_found(query, script):
    assert find_script(query) == script
