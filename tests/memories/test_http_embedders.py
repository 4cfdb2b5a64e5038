"""How embedding servers are spoken to, and what happens when they misbehave."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from memories.embeddings import EmbedderUnavailable, EmbeddingError, TextRefused
from memories.embeddings.ollama import OllamaEmbedder
from memories.embeddings.openai import OpenAIEmbedder
from memories.embeddings.remote import split_text
from tests import embedding_servers as servers
from tests.embedding_servers import EmbeddingServer

#: Seconds for one request in these tests, and what a test may add to that.
TIMEOUT_SECONDS, LEEWAY_SECONDS = 0.6, 0.6
API_KEY = "sk-very-secret"


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
        limits = {"timeout": TIMEOUT_SECONDS, "query_timeout": TIMEOUT_SECONDS}
        return server, backend(model, base_url=server.url, api_key=API_KEY, **limits)

    yield start
    for server in started:
        server.__exit__()


class Stopwatch:
    def __enter__(self):
        self.started = time.monotonic()
        return self

    def __exit__(self, *error):
        self.seconds = time.monotonic() - self.started


def embed_and_fail(embedder, call="embed") -> EmbeddingError:
    """The error of embedding one text, which must come in time and must not tell the key."""
    arguments = {"embed": ["some text"], "embed_query": "some text"}
    with Stopwatch() as watch, pytest.raises(EmbeddingError) as caught:
        getattr(embedder, call)(arguments[call])
    assert watch.seconds < TIMEOUT_SECONDS + LEEWAY_SECONDS
    assert API_KEY not in str(caught.value)
    return caught.value


def normalize(numbers) -> np.ndarray:
    return np.asarray(numbers) / np.linalg.norm(numbers)


def test_it_gives_the_server_s_vectors_at_unit_length_padded_to_the_column(serve):
    _, embedder = serve(servers.answer_vectors)
    vectors = embedder.embed(["one", "two", "three"])
    assert vectors.shape == (3, 768)
    assert vectors.dtype == np.float32
    for text, vector in zip(["one", "two", "three"], vectors, strict=True):
        assert np.allclose(vector[: servers.VECTOR_WIDTH], normalize(servers.make_vector(text)), atol=1e-6)
        assert not vector[servers.VECTOR_WIDTH :].any()


def test_it_sends_the_model_the_texts_and_the_key(serve, backend):
    server, embedder = serve(servers.answer_vectors)
    embedder.embed(["one"])
    path, headers, body = server.requests[0]
    assert (body["model"], body["input"]) == ("some-model", ["one"])
    assert headers["Authorization"] == f"Bearer {API_KEY}"
    if backend is OllamaEmbedder:
        assert (path, body["truncate"]) == ("/api/embed", False)
    else:
        assert (path, body["encoding_format"]) == ("/embeddings", "float")


def test_it_sends_no_more_than_sixteen_texts_at_once_over_one_connection(serve):
    server, embedder = serve(servers.answer_vectors)
    assert embedder.embed([f"text {number}" for number in range(50)]).shape == (50, 768)
    assert max(map(len, server.texts)) == 16
    assert len(server.requests) == 4
    assert server.connections == 1


def test_it_sends_no_batch_of_too_many_characters(serve):
    server, embedder = serve(servers.answer_vectors)
    embedder.embed(["x" * 6_000 for _ in range(5)])
    assert [len(texts) for texts in server.texts] == [1, 2, 2]


def test_nomic_gets_its_prefixes_and_says_so_in_its_name(serve):
    server, embedder = serve(servers.answer_vectors, "nomic-embed-text")
    embedder.embed(["a document"])
    embedder.embed_query("a question")
    assert server.texts == [["search_document: a document"], ["search_query: a question"]]
    assert embedder.model.endswith("/nomic-embed-text+prefixes")


def test_models_of_two_vendors_are_never_taken_for_one(serve):
    assert OllamaEmbedder("m", base_url="http://a").model != OpenAIEmbedder("m", base_url="http://a").model


def test_nobody_listens(backend):
    embedder = backend("some-model", base_url=f"http://127.0.0.1:{servers.find_free_port()}")
    error = embed_and_fail(embedder)
    assert isinstance(error, EmbedderUnavailable)
    assert "cannot be reached" in str(error)


def test_a_host_that_does_not_exist(backend):
    assert isinstance(
        embed_and_fail(backend("m", base_url="http://host.invalid", timeout=TIMEOUT_SECONDS)), EmbedderUnavailable
    )


@pytest.mark.parametrize("call", ["embed", "embed_query"])
@pytest.mark.parametrize(
    "behaviour",
    [servers.hang, servers.trickle_headers, servers.trickle_body, servers.trickle_without_length],
)
def test_a_server_that_takes_too_long_is_given_up_in_time(serve, behaviour, call):
    _, embedder = serve(behaviour)
    error = embed_and_fail(embedder, call)
    assert isinstance(error, EmbedderUnavailable)
    assert "within 0.6 seconds" in str(error)


@pytest.mark.parametrize(
    "behaviour",
    [
        *(servers.answer_error(status) for status in (401, 403, 404, 429, 500, 502, 503)),
        servers.answer_error(302, Location="http://127.0.0.1:1/"),
        servers.answer_rows(lambda texts: [*map(servers.make_vector, texts), servers.make_vector("more")]),
        servers.answer_rows(lambda texts: []),
        servers.answer_rows(lambda texts: [servers.make_vector(text, 1024) for text in texts]),
        servers.answer_rows(lambda texts: [["a", "b"] for _ in texts]),
        servers.answer_rows(lambda texts: [[10**400] for _ in texts]),
        servers.answer_rows(lambda texts: [[float("nan")] * servers.VECTOR_WIDTH for _ in texts]),
        servers.answer_rows(lambda texts: [[float("inf")] * servers.VECTOR_WIDTH for _ in texts]),
        servers.answer_rows(lambda texts: [[0.0] * servers.VECTOR_WIDTH for _ in texts]),
        lambda handler, body: handler.answer(200, b"{not json"),
        lambda handler, body: handler.answer(200, b"[" * 100_000),
        lambda handler, body: handler.answer(200, b"<html>Welcome!</html>", **{"Content-Type": "text/html"}),
        lambda handler, body: handler.answer(200, ["something", "else"]),
        lambda handler, body: handler.answer(200, {"data": [{"index": 0}], "embeddings": {"0": 1}}),
        lambda handler, body: handler.answer(200, b""),
        servers.break_off,
        servers.close_connection,
    ],
)
def test_a_server_that_is_ill_is_an_outage_not_the_fault_of_the_text(serve, behaviour):
    _, embedder = serve(behaviour)
    assert isinstance(embed_and_fail(embedder), EmbedderUnavailable)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_server_that_refuses_every_text_is_an_outage(serve, status):
    _, embedder = serve(servers.answer_error(status, "no embeddings here"))
    assert isinstance(embed_and_fail(embedder), EmbedderUnavailable)


def test_a_body_without_end_is_given_up(serve, monkeypatch):
    _, embedder = serve(servers.send_huge_body)
    embedder.timeout = 20
    with Stopwatch() as watch, pytest.raises(EmbedderUnavailable, match="too large"):
        embedder.embed(["some text"])
    assert watch.seconds < 5


def test_a_redirect_is_not_followed(serve):
    with EmbeddingServer(servers.answer_vectors) as elsewhere:
        _, embedder = serve(servers.answer_error(307, Location=elsewhere.url))
        assert "307" in str(embed_and_fail(embedder))
        assert elsewhere.requests == []


def test_an_outage_is_asked_about_once_not_once_for_every_batch(serve):
    server, embedder = serve(servers.answer_error(503))
    outcomes = embedder.embed_each([f"text {number}" for number in range(100)])
    assert len(server.requests) == 1
    assert {type(outcome) for outcome in outcomes} == {EmbedderUnavailable}


def test_a_server_that_always_fails_is_noticed_after_a_few_requests(serve):
    server, embedder = serve(servers.answer_error(500))
    outcomes = embedder.embed_each([f"text {number}" for number in range(100)])
    assert len(server.requests) == 3
    assert all(isinstance(outcome, EmbedderUnavailable) for outcome in outcomes)


def test_what_was_embedded_before_an_outage_is_kept(serve):
    def until_the_second_request(handler, body):
        (servers.answer_vectors if len(handler.server.requests) == 1 else servers.answer_error(503))(handler, body)

    _, embedder = serve(until_the_second_request)
    outcomes = embedder.embed_each([f"text {number:02}" for number in range(20)])
    assert sum(isinstance(outcome, np.ndarray) for outcome in outcomes) in (4, 16)
    assert sum(isinstance(outcome, EmbedderUnavailable) for outcome in outcomes) in (4, 16)


def is_poison(text: str) -> bool:
    return "poison" in text


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (servers.answer_error(400), TextRefused),
        (servers.answer_error(422), TextRefused),
        (servers.answer_error(500), EmbedderUnavailable),
        (servers.answer_rows(lambda texts: [[0.0 if is_poison(text) else 1.0] for text in texts]), TextRefused),
        (
            servers.answer_rows(lambda texts: [[float("nan") if is_poison(text) else 1.0] for text in texts]),
            TextRefused,
        ),
    ],
)
def test_one_bad_text_does_not_cost_its_neighbours_their_vectors(serve, fault, expected):
    _, embedder = serve(servers.answer_unless(is_poison, fault))
    texts = [f"text {number}" for number in range(20)]
    texts[7] = "poison"
    outcomes = embedder.embed_each(texts)
    assert isinstance(outcomes[7], expected)
    assert all(isinstance(outcome, np.ndarray) for at, outcome in enumerate(outcomes) if at != 7)


def test_embed_says_which_text_is_to_blame(serve):
    _, embedder = serve(servers.answer_unless(is_poison, servers.answer_error(400)))
    with pytest.raises(TextRefused) as caught:
        embedder.embed(["a", "b", "poison", "c"])
    assert caught.value.index == 2


OVERLONG_ERRORS = [
    servers.answer_error(400, "the input length exceeds the context length"),
    servers.answer_error(400, "This model's maximum context length is 512 tokens"),
    servers.answer_error(413, "`inputs` must have less than 512 tokens. Given: 3000"),
    servers.answer_error(500, "input is too large to process. increase the physical batch size"),
]


@pytest.mark.parametrize("refusal", OVERLONG_ERRORS)
def test_a_text_that_is_too_long_is_embedded_in_pieces(serve, refusal):
    server, embedder = serve(servers.answer_unless(lambda text: len(text) > 300, refusal))
    text = "word " * 200 + "needle"
    [vector] = embedder.embed([text])
    pieces = [piece for texts in server.texts if max(map(len, texts)) <= 300 for piece in texts]
    assert "".join(sorted(pieces)) == "".join(sorted(split_text(text, max(map(len, pieces)))))
    assert any(piece.endswith("needle") for piece in pieces)
    assert np.isclose(np.linalg.norm(vector), 1)
    expected = sum(len(piece) * normalize(servers.make_vector(piece)) for piece in pieces)
    assert np.allclose(vector[: servers.VECTOR_WIDTH], normalize(expected), atol=1e-5)


def test_every_piece_of_a_long_text_bears_the_prefix(serve):
    refusal = servers.answer_error(400, "the input length exceeds the context length")
    server, embedder = serve(servers.answer_unless(lambda text: len(text) > 300, refusal), "nomic-embed-text")
    embedder.embed(["word " * 200])
    assert all(text.startswith("search_document: ") for texts in server.texts for text in texts)


def test_a_long_text_does_not_keep_its_neighbours_from_being_embedded(serve):
    _, embedder = serve(
        servers.answer_unless(lambda text: len(text) > 300, servers.answer_error(400, "context length"))
    )
    assert embedder.embed(["short", "word " * 200, "short too"]).shape == (3, 768)


def test_a_text_of_which_no_piece_is_short_enough_is_refused_after_a_few_attempts(serve):
    too_long = servers.answer_error(400, "the input length exceeds the context length")
    server, embedder = serve(servers.answer_unless(lambda text: len(text) > 10, too_long))
    with pytest.raises(TextRefused):
        embedder.embed(["word " * 20_000])
    assert len(server.requests) < 15


def test_a_long_question_has_one_limit_for_all_its_pieces(serve):
    def slow(handler, body):
        handler.server.stopping.wait(0.25)
        servers.answer_unless(lambda text: len(text) > 300, servers.answer_error(400, "context length"))(handler, body)

    _, embedder = serve(slow)
    with Stopwatch() as watch, pytest.raises(EmbedderUnavailable):
        embedder.embed_query("word " * 800)
    assert watch.seconds < TIMEOUT_SECONDS + LEEWAY_SECONDS


def test_many_threads_share_one_embedder(serve):

    _, embedder = serve(servers.answer_vectors)
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(embedder.embed_query, [f"question {number}" for number in range(64)]))
    for number, vector in enumerate(vectors):
        assert np.allclose(
            vector[: servers.VECTOR_WIDTH], normalize(servers.make_vector(f"question {number}")), atol=1e-6
        )


def test_a_model_that_may_be_cut_is_cut(serve):
    _, embedder = serve(
        servers.answer_rows(lambda texts: [servers.make_vector(text, 1024) for text in texts]), "mxbai-embed-large"
    )
    [vector] = embedder.embed(["a"])
    assert np.allclose(vector, normalize(servers.make_vector("a", 1024)[:768]), atol=1e-6)
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
    assert not OpenAIEmbedder("text-embedding-3-small", base_url="https://api.openai.com/v1", api_key=API_KEY).check()


def test_a_key_that_cannot_be_sent_is_not_shown(backend):
    with EmbeddingServer(servers.answer_vectors) as server:
        embedder = backend("some-model", base_url=server.url, api_key=f"{API_KEY}\n")
        assert isinstance(embed_and_fail(embedder), EmbedderUnavailable)


def test_ping_is_silent_when_all_is_well(serve):
    _, embedder = serve(servers.answer_vectors)
    embedder.ping()


@pytest.mark.parametrize("behaviour", [servers.answer_error(404), servers.answer_error(400), servers.hang])
def test_ping_tells_of_an_outage_in_time(serve, behaviour):
    _, embedder = serve(behaviour)
    with Stopwatch() as watch, pytest.raises(EmbedderUnavailable):
        embedder.ping()
    assert watch.seconds < TIMEOUT_SECONDS + LEEWAY_SECONDS


def test_ollama_without_the_model_says_how_to_get_it():
    with EmbeddingServer(servers.answer_error(404, "model 'nomic-embed-text' not found")) as server:
        embedder = OllamaEmbedder("nomic-embed-text", base_url=server.url)
        for call in (embedder.ping, lambda: embedder.embed(["a"])):
            with pytest.raises(EmbedderUnavailable, match="ollama pull nomic-embed-text"):
                call()


def test_a_server_that_comes_back_is_used_again(serve):
    server, embedder = serve(servers.answer_error(503))
    embed_and_fail(embedder)
    server.behaviour = servers.answer_vectors
    assert embedder.embed(["a"]).shape == (1, 768)
