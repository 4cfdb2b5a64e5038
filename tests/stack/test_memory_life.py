"""A memory from beginning to end, in a running site."""

import re
from contextlib import closing
from http.client import HTTPConnection

import pytest

from memory_site.operations.health.checks import CHECKS
from tests.stack.stack import wait_until

ABSOLUTE_URL_PATTERN = re.compile(rb"""(?:https?:)?//[^\s"'<>]+""")
ASSET_PATTERN = re.compile(r"""(?:src|href)=["']([^"']+)["']""")
HEALTH_CHECKS = {*CHECKS, "requests"}


def list_ids(found):
    return [hit["memory"]["id"] for hit in found["results"]]


def is_embedded(stack, pk):
    return stack.call("GET", f"/memories/{pk}").json()["embedded"]


def test_a_memory_is_found_by_its_words_before_it_has_a_vector(stack):
    with stack.frozen("worker"):
        memory = stack.add("The lighthouse keeper counts puffins every Tuesday.")
        assert memory["created"] is True
        assert memory["embedded"] is False
        assert stack.search("lighthouse puffins")["results"][0]["found_by"] == ["words"]


def test_a_memory_is_found_by_its_meaning_once_a_worker_has_seen_it(stack, measured):
    memory = stack.add("Our ferry is often delayed when it is foggy.")
    waited = wait_until(lambda: is_embedded(stack, memory["id"]), 60, "the memory is embedded")
    measured("from store to vector", waited)
    found = stack.search("boats that run late in bad weather", mode="vector", limit=3)
    assert memory["id"] in list_ids(found)
    assert found["degraded"] is False


def test_whoever_waits_is_answered_when_the_vector_is_there(stack):
    answer = stack.call("POST", "/memories?wait=true", {"content": "Bruno feeds the office cat at noon."})
    assert answer.status == 201
    memory = answer.json()
    assert memory["embedded"] is True
    assert memory["id"] in list_ids(stack.search("pet gets lunch", mode="vector", limit=3))


def test_whoever_waits_is_answered_even_when_no_worker_is_there(stack):
    with stack.frozen("worker"):
        answer = stack.call("POST", "/memories?wait=true", {"content": "Dana waters the ficus on Mondays."})
    assert answer.json()["embedded"] is True


def test_answers_without_content_leave_the_connection_in_step(stack):
    """HEAD, 304 and 204 promise no more bytes than they send: what follows on the connection is the next answer."""
    # Its embedding, which an answer mentions, is not made between two of them.
    memory = stack.call("POST", "/memories?wait=true", {"content": "The tide turns at six.", "key": "tide"}).json()
    path, headers = f"/api/v1/memories/{memory['id']}", {"Authorization": f"Bearer {stack.key}"}
    seen = {"If-None-Match": f'"{memory["revision"]}"'}
    with closing(HTTPConnection("127.0.0.1", stack.port, timeout=60)) as connection:
        answers = []
        for method, more in (("GET", {}), ("HEAD", {}), ("GET", seen), ("HEAD", {}), ("DELETE", {}), ("HEAD", {})):
            connection.request(method, path, headers=headers | more)
            answers.append((answer := connection.getresponse(), answer.read()))
    assert [answer.status for answer, _ in answers] == [200, 200, 304, 200, 204, 404]
    lengths = [answer.headers["Content-Length"] for answer, _ in answers]
    assert lengths[:5] == [str(len(answers[0][1])), lengths[0], None, lengths[0], None]
    assert [body for _, body in answers[1:]] == [b""] * 5


def test_new_content_is_found_by_its_own_meaning(stack):
    memory = stack.call("POST", "/memories?wait=true", {"content": "The safe opens with a blue token."}).json()
    changed = stack.call("PATCH", f"/memories/{memory['id']}", {"content": "Violins are tuned before the concert."})
    assert changed.status == 200
    assert changed.json()["embedded"] is False
    wait_until(lambda: is_embedded(stack, memory["id"]), 60, "the new content is embedded")
    assert memory["id"] in list_ids(stack.search("musicians prepare their instruments", mode="vector", limit=3))
    assert memory["id"] not in list_ids(stack.search("blue token", mode="text"))


def test_a_deleted_memory_is_gone(stack):
    memory = stack.call("POST", "/memories?wait=true", {"content": "Ephemeral walrus parade in Oslo."}).json()
    assert stack.call("DELETE", f"/memories/{memory['id']}").status == 204
    assert stack.call("GET", f"/memories/{memory['id']}").status == 404
    assert memory["id"] not in list_ids(stack.search("walrus parade"))
    assert memory["id"] not in list_ids(stack.search("walrus parade", mode="vector"))


def test_retried_request_gets_the_same_response(stack):
    body = {"content": "The retried request is stored once."}
    first = stack.call("POST", "/memories", body, Idempotency_Key="retry-1")
    second = stack.call("POST", "/memories", body, Idempotency_Key="retry-1")
    assert (second.status, second.data) == (first.status, first.data) == (201, second.data)
    assert second.headers["Idempotency-Replayed"] == "true"
    other = stack.call("POST", "/memories", {"content": "Something else."}, Idempotency_Key="retry-1")
    assert other.status == 422
    assert other.headers["Content-Type"] == "application/problem+json"


def test_health_lists_every_component(stack):
    wait_until(lambda: stack.health()["all"] == "healthy", 60, "everything is healthy")
    assert stack.health() == dict.fromkeys([*HEALTH_CHECKS, "all"], "healthy")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_probes_need_no_key_and_show_no_details(stack, path):
    answer = stack.page(path)
    assert answer.status == 200
    assert set(answer.json()) == {"status"}


@pytest.mark.parametrize("token", ["", "mem_wrong_key"])
def test_details_need_a_key(stack, token):
    answer = stack.page("/health", token)
    assert answer.status == 401
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_the_documentation_needs_no_other_host(stack):
    document = stack.page("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert "/api/v1/memories" in document["paths"]
    html = stack.page("/api/v1/docs")
    assert html.status == 200
    assert ABSOLUTE_URL_PATTERN.findall(html.data) == []
    assets = [path for path in ASSET_PATTERN.findall(html.data.decode()) if path.endswith((".js", ".css"))]
    assert len(assets) >= 2
    assert {stack.page(path).status for path in assets} == {200}
