"""An embedding server that is down, hangs, and comes back: words serve meanwhile, vectors follow by themselves."""

import socket

import pytest

from tests.embedding_servers import EmbeddingServer, answer_vectors, hang
from tests.stack.stack import running_stack, wait_until

#: Seconds until vectors follow on their own.
FOLLOW_UP_SECONDS = 180
FERRY_SENTENCE = "The ferry to the island leaves at dawn."


class ServerAt(EmbeddingServer):
    """On a port of our choice: one that went away comes back where it was."""

    def __init__(self, port, behaviour):
        self.chosen = port
        super().__init__(behaviour)

    def server_bind(self):
        self.server_address = ("127.0.0.1", self.chosen)
        super().server_bind()


@pytest.fixture(scope="module")
def port():
    """Held, so that no other program listens there while the server is down."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the server's own has it too
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="module")
def remote(port):
    """A site whose embedder is a server that is not started yet, with a memory that waits for its vector."""
    base = f"http://127.0.0.1:{port}/v1"
    with running_stack(EMBEDDER="openai", EMBEDDING_MODEL="some-model", OPENAI_BASE_URL=base) as remote:
        assert remote.add(FERRY_SENTENCE)["embedded"] is False
        yield remote


def call_search(stack, query, **fields):
    return stack.call("POST", "/memories/search", {"query": query, **fields})


def found_by_words_only(answer):
    found = answer.json()
    return (
        answer.status == 200
        and found["degraded"] is True
        and [(hit["memory"]["content"], hit["found_by"]) for hit in found["results"]] == [(FERRY_SENTENCE, ["words"])]
    )


def test_a_server_that_is_down_leaves_the_words(remote):
    assert found_by_words_only(call_search(remote, "island ferry"))


def test_a_search_by_meaning_alone_is_told_to_come_back(remote):
    answer = call_search(remote, "island ferry", mode="vector")
    assert answer.status == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0


def test_whoever_waits_for_a_vector_is_answered_without_it(remote):
    answer = remote.call("POST", "/memories?wait=true", {"content": "Nobody can embed this now."})
    assert (answer.status, answer.json()["embedded"]) == (201, False)


def test_health_says_that_the_embedder_is_away(remote):
    health = remote.health()
    assert (health["all"], health["embedder"], health["database"]) == ("degraded", "degraded", "healthy")


def test_a_server_that_hangs_is_waited_for_once(remote, port, measured):
    with ServerAt(port, hang) as server:
        # No search asks it for some seconds after the time when it was down, nor after one that waited in vain.
        waited = wait_until(lambda: search_twice(remote, server) == [1, 0], 120, "the first of two searches asks it")
        assert remote.add("Stored while the embedder hangs.")["embedded"] is False
    measured("until a search has waited for a hanging embedder, and the next has not", waited)


def search_twice(stack, server):
    """How many requests each of two searches sent to the server, which embeds neither."""
    queries = [["island ferry"], ["ferry island"]]
    before = [server.texts.count(query) for query in queries]
    for [query] in queries:
        assert found_by_words_only(call_search(stack, query))
    return [server.texts.count(query) - count for query, count in zip(queries, before, strict=True)]


def test_vectors_follow_by_themselves_when_the_server_is_back(remote, port, measured):
    with ServerAt(port, answer_vectors):
        followed = wait_until(lambda: remote.backlog == 0, FOLLOW_UP_SECONDS, "everything is embedded")
        measured("from an embedder's return to all vectors", followed)
        wait_until(lambda: not remote.search(FERRY_SENTENCE)["degraded"], 60, "searches ask it again")
        found = remote.search(FERRY_SENTENCE)
        assert found["degraded"] is False
        assert found["results"][0]["memory"]["content"] == FERRY_SENTENCE
        assert found["results"][0]["found_by"] == ["meaning", "words"]
        assert remote.summary()["embedding_refused"] == 0
        wait_until(lambda: remote.health()["all"] == "healthy", 60, "everything is healthy")
