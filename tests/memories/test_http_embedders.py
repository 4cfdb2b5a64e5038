"""Embedding servers, and their failures."""

import re
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

#: Seconds for one request to a server that is too slow, and to one that is not; and what a busy machine may add.
TIMEOUT_SECONDS, PATIENT_SECONDS, LEEWAY_SECONDS = 0.6, 200, 150
#: What is left of the time for a query when a request begins may be less than all of it, or nothing.
TOO_SLOW_FOR_QUERY = r"within [\d.e-]+ seconds|takes too long for this query"
API_KEY = "sk-very-secret"


@pytest.fixture(params=[OllamaEmbedder, OpenAIEmbedder])
def backend(request):
    return request.param


@pytest.fixture
def serve(backend):
    """A function that starts a server with some behaviour, and returns the server and an embedder for it."""
    started = []

    def start(behaviour, model="some-model", seconds=PATIENT_SECONDS):
        server = EmbeddingServer(behaviour).__enter__()
        started.append(server)
        limits = {"timeout": seconds, "query_timeout": seconds}
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
    """Return the error of embedding one text, which must come soon and not contain the key."""
    arguments = {"embed": ["some text"], "embed_query": "some text"}
    with Stopwatch() as watch, pytest.raises(EmbeddingError) as caught:
        getattr(embedder, call)(arguments[call])
    assert watch.seconds < LEEWAY_SECONDS
    assert API_KEY not in str(caught.value)
    return caught.value


def normalize(numbers) -> np.ndarray:
    return np.asarray(numbers) / np.linalg.norm(numbers)


def test_vectors_are_normalised_and_padded_to_the_column(serve):
    _, embedder = serve(servers.answer_vectors)
    vectors = embedder.embed(["one", "two", "three"])
    assert vectors.shape == (3, 768)
    assert vectors.dtype == np.float32
    for text, vector in zip(["one", "two", "three"], vectors, strict=True):
        assert np.allclose(vector[: servers.VECTOR_WIDTH], normalize(servers.make_vector(text)), atol=1e-6)
        assert not vector[servers.VECTOR_WIDTH :].any()


def test_request_has_model_texts_and_key(serve, backend):
    server, embedder = serve(servers.answer_vectors)
    embedder.embed(["one"])
    path, headers, body = server.requests[0]
    assert (body["model"], body["input"]) == ("some-model", ["one"])
    assert headers["Authorization"] == f"Bearer {API_KEY}"
    if backend is OllamaEmbedder:
        assert (path, body["truncate"]) == ("/api/embed", False)
    else:
        assert (path, body["encoding_format"]) == ("/embeddings", "float")


def test_batches_of_sixteen_texts_use_one_connection(serve):
    server, embedder = serve(servers.answer_vectors)
    assert embedder.embed([f"text {number}" for number in range(50)]).shape == (50, 768)
    assert max(map(len, server.texts)) == 16
    assert len(server.requests) == 4
    assert server.connections == 1


def test_batches_respect_the_character_limit(serve):
    server, embedder = serve(servers.answer_vectors)
    embedder.embed(["x" * 6_000 for _ in range(5)])
    assert [len(texts) for texts in server.texts] == [1, 2, 2]


def test_nomic_model_has_prefixes_and_a_name_of_its_own(serve):
    server, embedder = serve(servers.answer_vectors, "nomic-embed-text")
    embedder.embed(["a document"])
    embedder.embed_query("a question")
    assert server.texts == [["search_document: a document"], ["search_query: a question"]]
    assert embedder.model.endswith("/nomic-embed-text+prefixes")


def test_models_of_two_vendors_have_different_names(serve):
    assert OllamaEmbedder("m", base_url="http://a").model != OpenAIEmbedder("m", base_url="http://a").model


def test_refused_connection_is_an_outage(backend):
    embedder = backend("some-model", base_url="http://127.0.0.1:9")
    error = embed_and_fail(embedder)
    assert isinstance(error, EmbedderUnavailable)
    assert "cannot be reached" in str(error)


def test_unknown_host_is_an_outage(backend):
    assert isinstance(
        embed_and_fail(backend("m", base_url="http://host.invalid", timeout=TIMEOUT_SECONDS)), EmbedderUnavailable
    )


@pytest.mark.parametrize("call", ["embed", "embed_query"])
@pytest.mark.parametrize(
    "behaviour",
    [servers.hang, servers.trickle_headers, servers.trickle_body, servers.trickle_without_length],
)
def test_slow_server_times_out(serve, behaviour, call):
    _, embedder = serve(behaviour, seconds=TIMEOUT_SECONDS)
    error = embed_and_fail(embedder, call)
    assert isinstance(error, EmbedderUnavailable)
    assert re.search("within 0.6 seconds" if call == "embed" else TOO_SLOW_FOR_QUERY, str(error))


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
def test_failing_server_is_an_outage(serve, behaviour):
    _, embedder = serve(behaviour)
    assert isinstance(embed_and_fail(embedder), EmbedderUnavailable)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_server_that_refuses_every_text_is_an_outage(serve, status):
    _, embedder = serve(servers.answer_error(status, "no embeddings here"))
    assert isinstance(embed_and_fail(embedder), EmbedderUnavailable)


def test_endless_body_is_aborted(serve, monkeypatch):
    _, embedder = serve(servers.send_huge_body)
    with Stopwatch() as watch, pytest.raises(EmbedderUnavailable, match="too large"):
        embedder.embed(["some text"])
    assert watch.seconds < LEEWAY_SECONDS


def test_redirect_is_not_followed(serve):
    with EmbeddingServer(servers.answer_vectors) as elsewhere:
        _, embedder = serve(servers.answer_error(307, Location=elsewhere.url))
        assert "307" in str(embed_and_fail(embedder))
        assert elsewhere.requests == []


def test_outage_is_detected_once_for_all_batches(serve):
    server, embedder = serve(servers.answer_error(503))
    outcomes = embedder.embed_each([f"text {number}" for number in range(100)])
    assert len(server.requests) == 1
    assert {type(outcome) for outcome in outcomes} == {EmbedderUnavailable}


def test_failing_server_is_detected_after_a_few_requests(serve):
    server, embedder = serve(servers.answer_error(500))
    outcomes = embedder.embed_each([f"text {number}" for number in range(100)])
    assert len(server.requests) == 3
    assert all(isinstance(outcome, EmbedderUnavailable) for outcome in outcomes)


def test_vectors_made_before_an_outage_are_returned(serve):
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
def test_refused_text_does_not_affect_its_batch(serve, fault, expected):
    _, embedder = serve(servers.answer_unless(is_poison, fault))
    texts = [f"text {number}" for number in range(20)]
    texts[7] = "poison"
    outcomes = embedder.embed_each(texts)
    assert isinstance(outcomes[7], expected)
    assert all(isinstance(outcome, np.ndarray) for at, outcome in enumerate(outcomes) if at != 7)


def test_embed_names_the_refused_text(serve):
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
def test_text_that_is_too_long_is_embedded_in_pieces(serve, refusal):
    server, embedder = serve(servers.answer_unless(lambda text: len(text) > 300, refusal))
    text = "word " * 200 + "needle"
    [vector] = embedder.embed([text])
    pieces = [piece for texts in server.texts if max(map(len, texts)) <= 300 for piece in texts]
    assert "".join(sorted(pieces)) == "".join(sorted(split_text(text, max(map(len, pieces)))))
    assert any(piece.endswith("needle") for piece in pieces)
    assert np.isclose(np.linalg.norm(vector), 1)
    expected = sum(len(piece) * normalize(servers.make_vector(piece)) for piece in pieces)
    assert np.allclose(vector[: servers.VECTOR_WIDTH], normalize(expected), atol=1e-5)


def test_every_piece_of_a_long_text_has_the_prefix(serve):
    refusal = servers.answer_error(400, "the input length exceeds the context length")
    server, embedder = serve(servers.answer_unless(lambda text: len(text) > 300, refusal), "nomic-embed-text")
    embedder.embed(["word " * 200])
    assert all(text.startswith("search_document: ") for texts in server.texts for text in texts)


def test_long_text_does_not_affect_its_batch(serve):
    _, embedder = serve(
        servers.answer_unless(lambda text: len(text) > 300, servers.answer_error(400, "context length"))
    )
    assert embedder.embed(["short", "word " * 200, "short too"]).shape == (3, 768)


def test_text_without_a_short_enough_piece_is_refused_after_a_few_attempts(serve):
    too_long = servers.answer_error(400, "the input length exceeds the context length")
    server, embedder = serve(servers.answer_unless(lambda text: len(text) > 10, too_long))
    with pytest.raises(TextRefused):
        embedder.embed(["word " * 20_000])
    assert len(server.requests) < 15


def test_long_query_has_one_timeout_for_all_pieces(serve):
    def slow(handler, body):
        handler.server.stopping.wait(0.25)
        servers.answer_unless(lambda text: len(text) > 300, servers.answer_error(400, "context length"))(handler, body)

    _, embedder = serve(slow, seconds=TIMEOUT_SECONDS)
    with pytest.raises(EmbedderUnavailable, match=TOO_SLOW_FOR_QUERY):
        embedder.embed_query("word " * 800)


def test_many_threads_share_one_embedder(serve):

    _, embedder = serve(servers.answer_vectors)
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(embedder.embed_query, [f"question {number}" for number in range(64)]))
    for number, vector in enumerate(vectors):
        assert np.allclose(
            vector[: servers.VECTOR_WIDTH], normalize(servers.make_vector(f"question {number}")), atol=1e-6
        )


def test_matryoshka_model_is_truncated(serve):
    _, embedder = serve(
        servers.answer_rows(lambda texts: [servers.make_vector(text, 1024) for text in texts]), "mxbai-embed-large"
    )
    [vector] = embedder.embed(["a"])
    assert np.allclose(vector, normalize(servers.make_vector("a", 1024)[:768]), atol=1e-6)
    assert embedder.check() == []


def test_check_reports_a_model_that_is_too_wide(backend):
    [problem] = backend("bge-m3", base_url="http://127.0.0.1").check()
    assert "1024" in problem


@pytest.mark.parametrize(
    "address", ["", "localhost:11434", "ftp://host", "http://", "http://me:secret@host", "http://[::"]
)
def test_check_reports_an_unusable_url(backend, address):
    problems = backend("some-model", base_url=address).check()
    assert len(problems) == 1
    assert "secret" not in problems[0]


def test_openai_requires_a_key():
    assert OpenAIEmbedder("text-embedding-3-small", base_url="https://api.openai.com/v1").check()
    assert not OpenAIEmbedder("text-embedding-3-small", base_url="https://api.openai.com/v1", api_key=API_KEY).check()


def test_invalid_key_is_not_shown(backend):
    with EmbeddingServer(servers.answer_vectors) as server:
        embedder = backend("some-model", base_url=server.url, api_key=f"{API_KEY}\n")
        assert isinstance(embed_and_fail(embedder), EmbedderUnavailable)


def test_ping_of_a_working_server_returns_nothing(serve):
    _, embedder = serve(servers.answer_vectors)
    embedder.ping()


@pytest.mark.parametrize("behaviour", [servers.answer_error(404), servers.answer_error(400), servers.hang])
def test_ping_reports_an_outage_in_time(serve, behaviour):
    _, embedder = serve(behaviour, seconds=TIMEOUT_SECONDS if behaviour is servers.hang else PATIENT_SECONDS)
    with Stopwatch() as watch, pytest.raises(EmbedderUnavailable):
        embedder.ping()
    assert watch.seconds < LEEWAY_SECONDS


def test_ollama_error_says_how_to_get_the_model():
    with EmbeddingServer(servers.answer_error(404, "model 'nomic-embed-text' not found")) as server:
        embedder = OllamaEmbedder("nomic-embed-text", base_url=server.url)
        for call in (embedder.ping, lambda: embedder.embed(["a"])):
            with pytest.raises(EmbedderUnavailable, match="ollama pull nomic-embed-text"):
                call()


def test_recovered_server_is_used_again(serve):
    server, embedder = serve(servers.answer_error(503))
    embed_and_fail(embedder)
    server.behaviour = servers.answer_vectors
    assert embedder.embed(["a"]).shape == (1, 768)
