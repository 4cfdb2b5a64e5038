"""An embedding server that is down, hangs, and comes back: words serve meanwhile, vectors follow by themselves."""

import time

import pytest

from tests.embedding_servers import EmbeddingServer, free_port, hangs, works
from tests.stack.stack import running, wait_until

#: Seconds: a search that waits for the embedder, one that knows better by now, and until vectors follow on their own.
PATIENT, AT_ONCE, FOLLOWING = 8, 1.5, 60
SENTENCE = "The ferry to the island leaves at dawn."


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
    return free_port()


@pytest.fixture(scope="module")
def remote(port):
    """A site whose embedder is a server that nobody has started yet, with a memory that waits for its vector."""
    base = f"http://127.0.0.1:{port}/v1"
    with running(EMBEDDER="openai", EMBEDDING_MODEL="some-model", OPENAI_BASE_URL=base) as remote:
        assert remote.add(SENTENCE)["embedded"] is False
        yield remote


def search(stack, query, **fields):
    """The answer, and the seconds it took."""
    started = time.monotonic()
    answer = stack.call("POST", "/memories/search", {"query": query, **fields})
    return answer, time.monotonic() - started


def words_alone_found_it(answer):
    found = answer.json()
    return (
        answer.status == 200
        and found["degraded"] is True
        and [(hit["memory"]["content"], hit["found_by"]) for hit in found["results"]] == [(SENTENCE, ["words"])]
    )


def test_a_server_that_is_down_leaves_the_words(remote):
    answer, took = search(remote, "island ferry")
    assert words_alone_found_it(answer)
    assert took < AT_ONCE


def test_a_search_by_meaning_alone_is_told_to_come_back(remote):
    answer, took = search(remote, "island ferry", mode="vector")
    assert answer.status == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert took < AT_ONCE


def test_whoever_waits_for_a_vector_is_answered_without_it(remote):
    started = time.monotonic()
    answer = remote.call("POST", "/memories?wait=true", {"content": "Nobody can embed this now."})
    assert (answer.status, answer.json()["embedded"]) == (201, False)
    assert time.monotonic() - started < PATIENT


def test_health_says_that_the_embedder_is_away(remote):
    health = remote.health()
    assert (health["all"], health["embedder"], health["database"]) == ("degraded", "degraded", "healthy")


def test_a_server_that_hangs_is_waited_for_once(remote, port, measured):
    time.sleep(5)  # until the site asks again, after the time when it was down
    with ServerAt(port, hangs):
        first, waited = search(remote, "island ferry")
        second, at_once = search(remote, "ferry island")
        assert remote.add("Stored while the embedder hangs.")["embedded"] is False
    measured("a search with a hanging embedder, the first", waited)
    measured("a search with a hanging embedder, the second", at_once)
    assert words_alone_found_it(first)
    assert words_alone_found_it(second)
    assert waited < PATIENT
    assert at_once < AT_ONCE


def test_vectors_follow_by_themselves_when_the_server_is_back(remote, port, measured):
    with ServerAt(port, works):
        followed = wait_until(lambda: remote.backlog == 0, FOLLOWING, "everything is embedded")
        measured("from an embedder's return to all vectors", followed)
        found = remote.search(SENTENCE)
        assert found["degraded"] is False
        assert found["results"][0]["memory"]["content"] == SENTENCE
        assert found["results"][0]["found_by"] == ["meaning", "words"]
        assert remote.summary()["embedding_refused"] == 0
        wait_until(lambda: remote.health()["all"] == "healthy", 30, "everything is healthy")
