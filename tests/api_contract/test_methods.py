"""HEAD works wherever GET does, other methods are refused with those that work, and no answer promises a body that it
lacks."""

import socket
from urllib.parse import urlsplit

import pytest

from tests.wire import fingerprint_tables, is_problem, list_operations

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
READS = [operation for operation in list_operations() if operation.method == "GET"]
#: Of each answer its own.
CHANGING_HEADERS = {"X-Request-ID", "Content-Length"}


def describe(response) -> tuple:
    headers = {name: value for name, value in response.items() if name not in CHANGING_HEADERS}
    return response.status_code, headers, "Content-Length" in response


def test_head_has_the_headers_of_every_get_and_changes_nothing(made, ids):
    api, _ = made
    urls = {str(operation): operation.url(ids) for operation in READS}
    before = fingerprint_tables()
    asked = {name: describe(api.call("HEAD", url)) for name, url in urls.items()}
    assert fingerprint_tables() == before
    got = {name: describe(api.get(url)) for name, url in urls.items()}
    assert asked == got
    assert len(got) > 40 and {status for status, *_ in got.values()} == {200}


@pytest.mark.django_db
def test_head_of_what_get_refuses(api, stranger):
    assert stranger.call("HEAD", "/memories").status_code == 401
    assert api.call("HEAD", "/nothing").status_code == 404
    assert api.call("HEAD", "/memories?limt=1").status_code == 422
    memory = api.add("tea")
    etag = api.call("HEAD", f"/memories/{memory['id']}")["ETag"]
    assert etag == f'"{memory["revision"]}"'
    assert api.call("HEAD", f"/memories/{memory['id']}", **{"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize("path", sorted({operation.path for operation in list_operations()}))
def test_other_methods_are_refused_with_those_that_work(made, ids, path):
    api, _ = made
    operations = [operation for operation in list_operations() if operation.path == path]
    works = {operation.method for operation in operations}
    works |= {"HEAD"} if "GET" in works else set()
    for method in set(METHODS) - works:
        response = api.call(method, operations[0].url(ids).partition("?")[0])
        assert response.status_code == 405, method
        assert set(response["Allow"].split(", ")) == works, method


@pytest.mark.django_db
def test_refused_method_is_the_one_of_the_request(api):
    response = api.call("HEAD", "/memories/bulk")
    assert (response.status_code, response["Allow"]) == (405, "POST")
    refused = api.call("PUT", "/memories")
    assert is_problem(refused, 405) and "PUT is not possible" in refused.json()["detail"]


@pytest.mark.django_db
def test_answer_without_a_body_has_no_headers_of_one(api):
    memory = api.add("tea", key="tea")
    path = f"/memories/{memory['id']}"
    answers = [api.call("GET", path, **{"If-None-Match": "*"}), api.delete(path)]
    assert [each.status_code for each in answers] == [304, 204]
    assert [each.get(name) for each in answers for name in ("Content-Type", "Content-Length")] == [None] * 4


def ask(url: str, method: str, path: str, token: str) -> tuple[bytes, bytes]:
    """The head and the body of an answer, as they come over the wire."""
    host = urlsplit(url)
    with socket.create_connection((host.hostname, host.port)) as connection:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host.netloc}", f"Authorization: Bearer {token}"]
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    return head, body


@pytest.mark.django_db(transaction=True)
def test_head_has_no_body_on_the_wire(live_server, api):
    api.add("tea")
    _, got = ask(live_server.url, "GET", "/api/v1/memories", api.token)
    for path, status in (("/api/v1/memories", b"200"), ("/api/v1/nothing", b"404"), ("/health/live", b"200")):
        head, body = ask(live_server.url, "HEAD", path, api.token)
        assert body == b"" and status in head.partition(b"\r\n")[0]
        assert path != "/api/v1/memories" or f"Content-Length: {len(got)}".encode() in head
