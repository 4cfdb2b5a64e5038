"""A call is made again when that is safe, within bounds, and what was asked happens once."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from memories.models import Memory
from memory_client import (
    AsyncMemoryClient,
    ConnectionFailed,
    MemoryClient,
    NotFound,
    ProblemError,
    TimedOut,
    TooManyRequests,
    Unavailable,
)
from memory_client import retries as policy
from memory_client.retries import Attempts
from sessions_app.models import Message
from tests.memory_client.servers import Answer, Request, answering, forward, losing, running

BUSY = Answer(503, {"title": "Service Unavailable"}, {"Retry-After": "0"}, "application/problem+json")
FOUND = Answer(200, {"results": []})


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Delays in thousandths of the real ones."""
    monkeypatch.setattr(policy, "FIRST_DELAY", 0.0002)


def call_site(server, **options) -> MemoryClient:
    return MemoryClient(server.url, "mem_any", **options)


def test_memory_whose_answer_was_lost_is_stored_once(live_server, key):
    with running(losing(live_server.url, 2)) as proxy, MemoryClient(proxy.url, key) as client:
        added = client.memories.add("Ada likes tea.")
    assert added.created is True and added.etag
    assert [each.content for each in Memory.objects.all()] == ["Ada likes tea."]
    keys = [request.headers["idempotency-key"] for request in proxy.requests]
    assert len(keys) == 3 and len(set(keys)) == 1


def test_each_call_has_a_key_of_its_own(live_server, key):
    with running(losing(live_server.url, 0)) as proxy, MemoryClient(proxy.url, key) as client:
        for _ in range(2):
            client.memories.add("Ada likes tea.")
        client.memories.add("Ada likes tea.", idempotency_key="ours")
    keys = [request.headers["idempotency-key"] for request in proxy.requests]
    assert len(set(keys)) == 3 and keys[2] == "ours"


def test_asynchronous_client_stores_once_too(live_server, key):
    async def add(url: str) -> bool:
        async with AsyncMemoryClient(url, key) as client:
            return (await client.memories.add("Ada likes tea.")).created

    with running(losing(live_server.url, 2)) as proxy:
        assert asyncio.run(add(proxy.url)) is True
    assert Memory.objects.count() == 1 and len(proxy.requests) == 3


def test_recall_whose_answer_was_lost_counts_one_access(live_server, key):
    with running(losing(live_server.url, 0)) as proxy, MemoryClient(proxy.url, key) as client:
        memory_id = client.memories.add("Ada likes tea.").id
        proxy.answer = losing(live_server.url, 1)
        recalled = client.memories.recall_one(memory_id)
    assert recalled.access_count == 1


def test_deletion_whose_answer_was_lost_is_done(live_server, key):
    with running(losing(live_server.url, 0)) as proxy, MemoryClient(proxy.url, key) as client:
        memory_id = client.memories.add("Ada likes tea.").id
        proxy.answer = losing(live_server.url, 1)
        client.memories.delete(memory_id)
        assert not Memory.objects.exists()
        with pytest.raises(NotFound):
            client.memories.delete(memory_id)


def test_last_message_is_not_deleted_a_second_time(live_server, key):
    with running(losing(live_server.url, 0)) as proxy, MemoryClient(proxy.url, key) as client:
        conversation = client.conversations.start()
        for content in ("One.", "Two.", "Three."):
            client.conversations.add_message(conversation.id, "user", content)
        proxy.answer = losing(live_server.url, 1)
        with pytest.raises(ConnectionFailed) as error:
            client.conversations.delete_last_message(conversation.id)
    assert error.value.may_have_happened
    assert [each.content for each in Message.objects.order_by("created_at")] == ["One.", "Two."]


@pytest.mark.parametrize("name", ["If-Match", "if-none-match"])
def test_condition_is_not_tried_again_when_it_may_have_been_met(name):
    with running(answering(Answer(None), FOUND)) as server, call_site(server) as client:
        with pytest.raises(ConnectionFailed) as error:
            client.request("PATCH", "/memories/1", json={}, headers={name: '"1"'})
        assert error.value.may_have_happened and len(server.requests) == 1


def losing_after(target: str, change: Callable[[], object]) -> Callable[[Request], Answer]:
    """Ask the target, but keep the first answer; `change` is made before the client can try again."""
    lose = losing(target, 1)

    def answer(request: Request) -> Answer:
        kept = lose(request)
        if kept.status is None:
            change()
        return kept

    return answer


@pytest.mark.parametrize("method", ["put", "update", "delete"])
def test_conditional_change_whose_answer_was_lost_is_made_once_and_seems_not_refused(client, key, live_server, method):
    """A second attempt would be 412: a writer that reads again then would count, or append, twice."""
    memory = client.memories.put("tea", "One cup.")
    change = {
        "put": lambda other: other.memories.put("tea", "Two cups.", if_match=memory.etag),
        "update": lambda other: other.memories.update(memory.id, content="Two cups.", if_match=memory.etag),
        "delete": lambda other: other.memories.delete(memory.id, if_match=memory.etag),
    }[method]
    lossy = running(losing(live_server.url, 1))
    with lossy as proxy, MemoryClient(proxy.url, key) as other, pytest.raises(ConnectionFailed) as error:
        change(other)
    assert error.value.may_have_happened and len(proxy.requests) == 1
    assert [each.content for each in Memory.objects.all()] == ([] if method == "delete" else ["Two cups."])


def test_conditional_change_that_was_not_sent_is_tried_again(client, key, live_server):
    """429 says that nothing was done."""
    memory = client.memories.put("tea", "One cup.")
    left = [Answer(429, {}, {"Retry-After": "0"})]
    busy = running(lambda request: left.pop() if left else forward(live_server.url, request))
    with busy as proxy, MemoryClient(proxy.url, key) as other:
        assert other.memories.put("tea", "Two cups.", if_match=memory.etag).created is False
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("is_conditional", [False, True], ids=["plain", "with If-Match"])
def test_only_a_condition_keeps_a_repeated_change_from_overwriting_another(client, key, live_server, is_conditional):
    memory = client.memories.put("tea", "One cup.")
    condition = {"if_match": memory.etag} if is_conditional else {}
    lossy = running(losing_after(live_server.url, lambda: client.memories.put("tea", "Three cups.")))
    outcome = pytest.raises(ConnectionFailed) if is_conditional else nullcontext()
    with lossy as proxy, MemoryClient(proxy.url, key) as other, outcome:
        other.memories.put("tea", "Two cups.", **condition)
    assert client.memories.get(memory.id).content == ("Three cups." if is_conditional else "Two cups.")


def test_reading_under_a_condition_is_tried_again():
    with running(answering(Answer(None), FOUND)) as server, call_site(server) as client:
        assert client.request("GET", "/memories/1", headers={"If-None-Match": '"1"'}) == {"results": []}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 415, 422, 500])
def test_error_of_the_request_is_not_tried_again(status):
    no = Answer(status, {"title": "No", "detail": "Not this."})
    with running(answering(no)) as server, call_site(server) as client, pytest.raises(ProblemError) as error:
        client.request("POST", "/memories", json={})
    assert (error.value.status, error.value.title, error.value.detail) == (status, "No", "Not this.")
    assert not error.value.is_temporary and len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_busy_server_is_asked_again(status):
    busy = Answer(status, "<h1>Busy</h1>", content_type="text/html")
    with running(answering(busy, busy, FOUND)) as server, call_site(server) as client:
        assert client.request("GET", "/memories") == {"results": []}
    assert len(server.requests) == 3


def test_retries_are_limited():
    busy = running(answering(BUSY))
    with busy as server, call_site(server, retries=2) as client, pytest.raises(Unavailable) as error:
        client.request("GET", "/memories")
    assert error.value.is_temporary and error.value.retry_after == 0 and len(server.requests) == 3


def test_retry_after_is_waited_for():
    soon = Answer(429, {}, {"Retry-After": "1"})
    with running(answering(soon, FOUND)) as server, call_site(server) as client:
        begun = time.monotonic()
        client.request("GET", "/memories")
    assert time.monotonic() - begun >= 1
    assert len(server.requests) == 2


@pytest.mark.parametrize("value", ["3600", "Wed, 01 Jan 2200 00:00:00 GMT"])
def test_retry_after_beyond_the_deadline_is_an_error_at_once(value):
    late = running(answering(Answer(429, {}, {"Retry-After": value})))
    # A deadline for which no test may wait.
    with late as server, call_site(server, deadline=1800) as client, pytest.raises(TooManyRequests) as error:
        client.request("GET", "/memories")
    assert error.value.retry_after > 3000 and len(server.requests) == 1


@pytest.mark.parametrize(
    "value", ["soon", "-1", "1e9", "Wed, 99 Jan 2200 00:00:00 GMT", "Wed, 01 Jan 2020 00:00:00 GMT"]
)
def test_retry_after_that_says_nothing_is_ignored(value):
    with running(answering(Answer(503, {}, {"Retry-After": value}), FOUND)) as server, call_site(server) as client:
        assert client.request("GET", "/memories") == {"results": []}


def test_server_that_is_not_there():
    client = MemoryClient("http://127.0.0.1:1", "mem_any", retries=1)
    with client, pytest.raises(ConnectionFailed, match="gave no answer") as error:
        client.memories.add("Ada likes tea.")
    assert error.value.is_temporary and not error.value.may_have_happened


def test_silent_server_is_asked_again():
    silent, ended = [1, 1], threading.Event()

    def answer(request):
        if silent:
            silent.pop()
            ended.wait(60)
        return FOUND

    with running(answer) as server, call_site(server, timeout=0.5, deadline=180, retries=1000) as client:
        assert client.request("GET", "/memories") == {"results": []}
        ended.set()
    assert len(server.requests) >= 3


def test_silent_server_is_given_up_at_the_deadline():
    ended = threading.Event()

    def answer(request):
        ended.wait(60)
        return FOUND

    with running(answer) as server, call_site(server, timeout=0.1, deadline=0.5, retries=10_000) as client:
        begun = time.monotonic()
        with pytest.raises(TimedOut, match="gave no answer in time"):
            client.request("GET", "/memories")
        assert time.monotonic() - begun < 120, "ten thousand attempts take longer"
        ended.set()


@pytest.mark.parametrize("last", [BUSY, Answer(404)], ids=["busy", "not found"])
def test_error_of_the_last_attempt_says_that_an_earlier_one_may_have_happened(last):
    with running(answering(Answer(None), last)) as server, call_site(server, retries=1) as client:
        with pytest.raises(ProblemError) as error:
            client.request("POST", "/memories", json={})
        assert error.value.may_have_happened and len(server.requests) == 2


def test_delays_grow_and_are_random(monkeypatch):
    monkeypatch.setattr(policy, "FIRST_DELAY", 0.2)
    error = ConnectionFailed("away")
    attempts = [Attempts(retries=10, seconds=600, is_repeatable=True) for _ in range(200)]
    for number in range(10):
        delays = [each.find_delay(error) for each in attempts]
        most = min(8, 0.2 * 2**number)
        assert 0 <= min(delays) < most / 4 and most * 3 / 4 < max(delays) <= most
    assert [each.find_delay(error) for each in attempts] == [None] * 200


def test_searches_carry_no_key_and_writes_do():
    with running(answering(FOUND)) as server, call_site(server) as client:
        for path in ("/memories/search", "/context", "/memories/recall", "/jobs"):
            client.request("POST", path, json={})
        client.request("GET", "/memories")
    keyed = [request.path for request in server.requests if "idempotency-key" in request.headers]
    assert keyed == ["/api/v1/memories/recall", "/api/v1/jobs"]
