"""How embedding servers are spoken to, and what happens when they misbehave."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from memories.embeddings import EmbedderUnavailable, EmbeddingError, TextRefused
from memories.embeddings.ollama import OllamaEmbedder
from memories.embeddings.openai import OpenAIEmbedder
from memories.embeddings.remote import cut
from tests import embedding_servers as servers
from tests.embedding_servers import EmbeddingServer

#: Seconds for one request in these tests, and what a test may add to that.
LIMIT, LEEWAY = 0.6, 0.6
KEY = "sk-very-secret"


@pytest.fixture(params=[OllamaEmbedder, OpenAIEmbedder])
def backend(request):
    return request.param


@pytest.fixture
def serve(backend):
    """Starts a server of some behaviour; gives the server and an embedder for it."""
    started = []

    def start(behaviour, model="some-model"):
        server = EmbeddingServer(behaviour).__enter__()
        started.append(server)
        limits = {"timeout": LIMIT, "query_timeout": LIMIT}
        return server, backend(model, base_url=server.url, api_key=KEY, **limits)

    yield start
    for server in started:
        server.__exit__()


class Stopwatch:
    def __enter__(self):
        self.started = time.monotonic()
        return self

    def __exit__(self, *error):
        self.seconds = time.monotonic() - self.started


def failure(embedder, call="embed") -> EmbeddingError:
    """The error of embedding one text, which must come in time and must not tell the key."""
    arguments = {"embed": ["some text"], "embed_query": "some text"}
    with Stopwatch() as watch, pytest.raises(EmbeddingError) as caught:
        getattr(embedder, call)(arguments[call])
    assert watch.seconds < LIMIT + LEEWAY
    assert KEY not in str(caught.value)
    return caught.value


def unit(numbers) -> np.ndarray:
    return np.asarray(numbers) / np.linalg.norm(numbers)


def test_it_gives_the_server_s_vectors_at_unit_length_padded_to_the_column(serve):
    _, embedder = serve(servers.works)
    vectors = embedder.embed(["one", "two", "three"])
    assert vectors.shape == (3, 768)
    assert vectors.dtype == np.float32
    for text, vector in zip(["one", "two", "three"], vectors, strict=True):
        assert np.allclose(vector[: servers.WIDTH], unit(servers.row(text)), atol=1e-6)
        assert not vector[servers.WIDTH :].any()


def test_it_sends_the_model_the_texts_and_the_key(serve, backend):
    server, embedder = serve(servers.works)
    embedder.embed(["one"])
    path, headers, body = server.requests[0]
    assert (body["model"], body["input"]) == ("some-model", ["one"])
    assert headers["Authorization"] == f"Bearer {KEY}"
    if backend is OllamaEmbedder:
        assert (path, body["truncate"]) == ("/api/embed", False)
    else:
        assert (path, body["encoding_format"]) == ("/embeddings", "float")


def test_it_sends_no_more_than_sixteen_texts_at_once_over_one_connection(serve):
    server, embedder = serve(servers.works)
    assert embedder.embed([f"text {number}" for number in range(50)]).shape == (50, 768)
    assert max(map(len, server.texts)) == 16
    assert len(server.requests) == 4
    assert server.connections == 1


def test_it_sends_no_batch_of_too_many_characters(serve):
    server, embedder = serve(servers.works)
    embedder.embed(["x" * 6_000 for _ in range(5)])
    assert [len(texts) for texts in server.texts] == [1, 2, 2]


def test_nomic_gets_its_prefixes_and_says_so_in_its_name(serve):
    server, embedder = serve(servers.works, "nomic-embed-text")
    embedder.embed(["a document"])
    embedder.embed_query("a question")
    assert server.texts == [["search_document: a document"], ["search_query: a question"]]
    assert embedder.model.endswith("/nomic-embed-text+prefixes")


def test_models_of_two_vendors_are_never_taken_for_one(serve):
    assert OllamaEmbedder("m", base_url="http://a").model != OpenAIEmbedder("m", base_url="http://a").model


def test_nobody_listens(backend):
    embedder = backend("some-model", base_url=f"http://127.0.0.1:{servers.free_port()}")
    error = failure(embedder)
    assert isinstance(error, EmbedderUnavailable)
    assert "cannot be reached" in str(error)


def test_a_host_that_does_not_exist(backend):
    assert isinstance(failure(backend("m", base_url="http://host.invalid", timeout=LIMIT)), EmbedderUnavailable)


@pytest.mark.parametrize("call", ["embed", "embed_query"])
@pytest.mark.parametrize(
    "behaviour",
    [servers.hangs, servers.trickles_headers, servers.trickles_body, servers.trickles_without_length],
)
def test_a_server_that_takes_too_long_is_given_up_in_time(serve, behaviour, call):
    _, embedder = serve(behaviour)
    error = failure(embedder, call)
    assert isinstance(error, EmbedderUnavailable)
    assert "within 0.6 seconds" in str(error)


@pytest.mark.parametrize(
    "behaviour",
    [
        *(servers.fails(status) for status in (401, 403, 404, 429, 500, 502, 503)),
        servers.fails(302, Location="http://127.0.0.1:1/"),
        servers.gives(lambda texts: [*map(servers.row, texts), servers.row("more")]),
        servers.gives(lambda texts: []),
        servers.gives(lambda texts: [servers.row(text, 1024) for text in texts]),
        servers.gives(lambda texts: [["a", "b"] for _ in texts]),
        servers.gives(lambda texts: [[10**400] for _ in texts]),
        servers.gives(lambda texts: [[float("nan")] * servers.WIDTH for _ in texts]),
        servers.gives(lambda texts: [[float("inf")] * servers.WIDTH for _ in texts]),
        servers.gives(lambda texts: [[0.0] * servers.WIDTH for _ in texts]),
        lambda handler, body: handler.answer(200, b"{not json"),
        lambda handler, body: handler.answer(200, b"[" * 100_000),
        lambda handler, body: handler.answer(200, b"<html>Welcome!</html>", **{"Content-Type": "text/html"}),
        lambda handler, body: handler.answer(200, ["something", "else"]),
        lambda handler, body: handler.answer(200, {"data": [{"index": 0}], "embeddings": {"0": 1}}),
        lambda handler, body: handler.answer(200, b""),
        servers.breaks_off,
        servers.hangs_up,
    ],
)
def test_a_server_that_is_ill_is_an_outage_not_the_fault_of_the_text(serve, behaviour):
    _, embedder = serve(behaviour)
    assert isinstance(failure(embedder), EmbedderUnavailable)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_server_that_refuses_every_text_is_an_outage(serve, status):
    _, embedder = serve(servers.fails(status, "no embeddings here"))
    assert isinstance(failure(embedder), EmbedderUnavailable)


def test_a_body_without_end_is_given_up(serve, monkeypatch):
    _, embedder = serve(servers.gives_a_huge_body)
    embedder.timeout = 20
    with Stopwatch() as watch, pytest.raises(EmbedderUnavailable, match="too large"):
        embedder.embed(["some text"])
    assert watch.seconds < 5


def test_a_redirect_is_not_followed(serve):
    with EmbeddingServer(servers.works) as elsewhere:
        _, embedder = serve(servers.fails(307, Location=elsewhere.url))
        assert "307" in str(failure(embedder))
        assert elsewhere.requests == []


def test_an_outage_is_asked_about_once_not_once_for_every_batch(serve):
    server, embedder = serve(servers.fails(503))
    outcomes = embedder.embed_each([f"text {number}" for number in range(100)])
    assert len(server.requests) == 1
    assert {type(outcome) for outcome in outcomes} == {EmbedderUnavailable}


def test_a_server_that_always_fails_is_noticed_after_a_few_requests(serve):
    server, embedder = serve(servers.fails(500))
    outcomes = embedder.embed_each([f"text {number}" for number in range(100)])
    assert len(server.requests) == 3
    assert all(isinstance(outcome, EmbedderUnavailable) for outcome in outcomes)


def test_what_was_embedded_before_an_outage_is_kept(serve):
    def until_the_second_request(handler, body):
        (servers.works if len(handler.server.requests) == 1 else servers.fails(503))(handler, body)

    _, embedder = serve(until_the_second_request)
    outcomes = embedder.embed_each([f"text {number:02}" for number in range(20)])
    assert sum(isinstance(outcome, np.ndarray) for outcome in outcomes) in (4, 16)
    assert sum(isinstance(outcome, EmbedderUnavailable) for outcome in outcomes) in (4, 16)


def is_poison(text: str) -> bool:
    return "poison" in text


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (servers.fails(400), TextRefused),
        (servers.fails(422), TextRefused),
        (servers.fails(500), EmbedderUnavailable),
        (servers.gives(lambda texts: [[0.0 if is_poison(text) else 1.0] for text in texts]), TextRefused),
        (servers.gives(lambda texts: [[float("nan") if is_poison(text) else 1.0] for text in texts]), TextRefused),
    ],
)
def test_one_bad_text_does_not_cost_its_neighbours_their_vectors(serve, fault, expected):
    _, embedder = serve(servers.unless(is_poison, fault))
    texts = [f"text {number}" for number in range(20)]
    texts[7] = "poison"
    outcomes = embedder.embed_each(texts)
    assert isinstance(outcomes[7], expected)
    assert all(isinstance(outcome, np.ndarray) for at, outcome in enumerate(outcomes) if at != 7)


def test_embed_says_which_text_is_to_blame(serve):
    _, embedder = serve(servers.unless(is_poison, servers.fails(400)))
    with pytest.raises(TextRefused) as caught:
        embedder.embed(["a", "b", "poison", "c"])
    assert caught.value.index == 2


OVERLONG = [
    servers.fails(400, "the input length exceeds the context length"),
    servers.fails(400, "This model's maximum context length is 512 tokens"),
    servers.fails(413, "`inputs` must have less than 512 tokens. Given: 3000"),
    servers.fails(500, "input is too large to process. increase the physical batch size"),
]


@pytest.mark.parametrize("refusal", OVERLONG)
def test_a_text_that_is_too_long_is_embedded_in_pieces(serve, refusal):
    server, embedder = serve(servers.unless(lambda text: len(text) > 300, refusal))
    text = "word " * 200 + "needle"
    [vector] = embedder.embed([text])
    pieces = [piece for texts in server.texts if max(map(len, texts)) <= 300 for piece in texts]
    assert "".join(sorted(pieces)) == "".join(sorted(cut(text, max(map(len, pieces)))))
    assert any(piece.endswith("needle") for piece in pieces)
    assert np.isclose(np.linalg.norm(vector), 1)
    expected = sum(len(piece) * unit(servers.row(piece)) for piece in pieces)
    assert np.allclose(vector[: servers.WIDTH], unit(expected), atol=1e-5)


def test_every_piece_of_a_long_text_bears_the_prefix(serve):
    refusal = servers.fails(400, "the input length exceeds the context length")
    server, embedder = serve(servers.unless(lambda text: len(text) > 300, refusal), "nomic-embed-text")
    embedder.embed(["word " * 200])
    assert all(text.startswith("search_document: ") for texts in server.texts for text in texts)


def test_a_long_text_does_not_keep_its_neighbours_from_being_embedded(serve):
    _, embedder = serve(servers.unless(lambda text: len(text) > 300, servers.fails(400, "context length")))
    assert embedder.embed(["short", "word " * 200, "short too"]).shape == (3, 768)


def test_a_text_of_which_no_piece_is_short_enough_is_refused_after_a_few_attempts(serve):
    too_long = servers.fails(400, "the input length exceeds the context length")
    server, embedder = serve(servers.unless(lambda text: len(text) > 10, too_long))
    with pytest.raises(TextRefused):
        embedder.embed(["word " * 20_000])
    assert len(server.requests) < 15


def test_a_long_question_has_one_limit_for_all_its_pieces(serve):
    def slow(handler, body):
        handler.server.stopping.wait(0.25)
        servers.unless(lambda text: len(text) > 300, servers.fails(400, "context length"))(handler, body)

    _, embedder = serve(slow)
    with Stopwatch() as watch, pytest.raises(EmbedderUnavailable):
        embedder.embed_query("word " * 800)
    assert watch.seconds < LIMIT + LEEWAY


def test_many_threads_share_one_embedder(serve):

    _, embedder = serve(servers.works)
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(embedder.embed_query, [f"question {number}" for number in range(64)]))
    for number, vector in enumerate(vectors):
        assert np.allclose(vector[: servers.WIDTH], unit(servers.row(f"question {number}")), atol=1e-6)


def test_a_model_that_may_be_cut_is_cut(serve):
    _, embedder = serve(servers.gives(lambda texts: [servers.row(text, 1024) for text in texts]), "mxbai-embed-large")
    [vector] = embedder.embed(["a"])
    assert np.allclose(vector, unit(servers.row("a", 1024)[:768]), atol=1e-6)
    assert embedder.check() == []


def test_a_model_known_to_be_too_wide_is_refused_before_it_is_used(backend):
    [problem] = backend("bge-m3", base_url="http://127.0.0.1").check()
    assert "1024" in problem


@pytest.mark.parametrize(
    "address", ["", "localhost:11434", "ftp://host", "http://", "http://me:secret@host", "http://[::"]
)
def test_an_address_that_cannot_be_used_is_a_problem_told_beforehand(backend, address):
    problems = backend("some-model", base_url=address).check()
    assert len(problems) == 1
    assert "secret" not in problems[0]


def test_openai_itself_needs_a_key():
    assert OpenAIEmbedder("text-embedding-3-small", base_url="https://api.openai.com/v1").check()
    assert not OpenAIEmbedder("text-embedding-3-small", base_url="https://api.openai.com/v1", api_key=KEY).check()


def test_a_key_that_cannot_be_sent_is_not_shown(backend):
    with EmbeddingServer(servers.works) as server:
        embedder = backend("some-model", base_url=server.url, api_key=f"{KEY}\n")
        assert isinstance(failure(embedder), EmbedderUnavailable)


def test_ping_is_silent_when_all_is_well(serve):
    _, embedder = serve(servers.works)
    embedder.ping()


@pytest.mark.parametrize("behaviour", [servers.fails(404), servers.fails(400), servers.hangs])
def test_ping_tells_of_an_outage_in_time(serve, behaviour):
    _, embedder = serve(behaviour)
    with Stopwatch() as watch, pytest.raises(EmbedderUnavailable):
        embedder.ping()
    assert watch.seconds < LIMIT + LEEWAY


def test_ollama_without_the_model_says_how_to_get_it():
    with EmbeddingServer(servers.fails(404, "model 'nomic-embed-text' not found")) as server:
        embedder = OllamaEmbedder("nomic-embed-text", base_url=server.url)
        for call in (embedder.ping, lambda: embedder.embed(["a"])):
            with pytest.raises(EmbedderUnavailable, match="ollama pull nomic-embed-text"):
                call()


def test_a_server_that_comes_back_is_used_again(serve):
    server, embedder = serve(servers.fails(503))
    failure(embedder)
    server.behaviour = servers.works
    assert embedder.embed(["a"]).shape == (1, 768)
