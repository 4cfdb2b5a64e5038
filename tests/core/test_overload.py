"""The layer that admits requests: what it reads, whom it serves, what a refused request gets."""

import json
from io import BytesIO

import pytest

from memory_site.core.http import overload
from memory_site.core.http.admission import Admission, Load, Refused
from memory_site.core.http.overload import CONSOLE, STRANGERS, AdmissionLayer, step_aside
from sessions_app.auth import find_caller, find_known_namespace, namespace_cache

LONGEST = 5 * 1024 * 1024


class Body(BytesIO):
    """A body that remembers how much of it was read."""

    @property
    def taken(self) -> int:
        return self.tell()


class Site:
    """The layer in front of an application that answers with the body, and one place to serve it."""

    def __init__(self, find_namespace=lambda environ: environ.get("namespace"), places=1, seats=4):
        # Lanes share the places for ten seconds: by a clock that stands still, throughout a test.
        self.admission = Admission(places, seats, max_wait=0.05, clock=lambda: 0.0)
        self.layer = AdmissionLayer(self.application, self.admission, find_namespace)
        self.started = []
        self.taken_when_served = None

    def application(self, environ, start_response):
        body = environ["wsgi.input"]
        self.taken_when_served = environ["original"].taken
        start_response("200 OK", [])
        return [body.read()]

    def start(self, path="/api/v1/memories", body=b"", **environ):
        """The response, of which nothing has been sent yet, and the client's body."""
        stream = Body(body)
        length = {"CONTENT_LENGTH": str(len(body))} if body else {}
        environ = {"PATH_INFO": path, "wsgi.input": stream, "original": stream} | length | environ
        return self.layer(environ, lambda *head: self.started.append(head)), stream

    def call(self, *arguments, **environ):
        """Status, headers and content of a response that is sent and closed."""
        response, _ = self.start(*arguments, **environ)
        content = b"".join(response)
        if hasattr(response, "close"):
            response.close()
        status, headers = self.started[-1]
        return int(status.split()[0]), dict(headers), content

    def fill(self, lane):
        """Let others have every place that this lane may have."""
        while True:
            visit = self.admission.enter(lane)
            try:
                self.admission.wait_for_turn(visit)
            except Refused:
                return


@pytest.fixture
def full():
    site = Site()
    site.fill("others")
    return site


def test_a_refused_request_gets_a_problem_document_that_says_when_to_come_back(full):
    status, headers, content = full.call(namespace=1, HTTP_X_REQUEST_ID="mine")
    assert status == 503
    assert 1 <= int(headers["Retry-After"]) <= 10
    assert headers["Content-Type"] == "application/problem+json"
    assert int(headers["Content-Length"]) == len(content)
    document = json.loads(content)
    assert document | {"detail": ""} == {
        **{"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": ""},
        **{"instance": "/api/v1/memories", "request_id": "mine"},
    }
    assert document["detail"]


def test_a_refused_request_is_answered_before_its_body_is_read():
    site = Site(seats=2)
    site.admission.enter("others")
    site.admission.enter("another")
    response, body = site.start(body=b"x" * 200_000, namespace=1)
    answer = iter(response)
    assert json.loads(next(answer))["status"] == 503
    assert body.taken == 0
    assert list(answer) == []
    assert body.taken == 200_000  # or the connection would be reset before the client has read the answer


def test_the_body_of_a_client_that_waits_for_100_continue_is_not_discarded():
    site = Site(seats=1)
    site.admission.enter("others")
    response, body = site.start(body=b"x" * 10, namespace=1, HTTP_EXPECT="100-continue")
    assert len(list(response)) == 1
    assert body.taken == 0


def test_a_slow_body_occupies_no_place():
    """It is read before the turn comes: here it never comes."""
    site = Site()
    site.fill("others")
    response, body = site.start(body=b"x" * 10, namespace=1)
    list(response)
    assert site.started[-1][0].startswith("503")
    assert body.taken == 10


@pytest.mark.parametrize(("environ", "taken"), [({"namespace": 1}, 10), ({}, 0)])
def test_the_body_of_a_stranger_is_left_to_the_application(environ, taken):
    site = Site()
    assert site.call(body=b"x" * 10, **environ)[::2] == (200, b"x" * 10)
    assert site.taken_when_served == taken


def test_others_are_served_while_the_application_reads_the_body_of_a_stranger():
    site = Site(places=1)

    class Slow:
        def read(self, *size):
            self.load = site.admission.load
            return site.call(namespace=1, body=b"another")[2]

    slow = Slow()
    slow.taken = 0
    assert site.call(**{"wsgi.input": slow, "original": slow, "CONTENT_LENGTH": "10"})[2] == b"another"
    assert slow.load == Load(served=0, waiting=1, refused=0)
    assert site.admission.load == Load(served=0, waiting=0, refused=0)


@pytest.mark.parametrize("length", [str(LONGEST + 1), "-1", "many", "²", "9" * 30])
def test_a_body_that_is_too_long_or_of_unknown_length_is_left_to_the_application(length):
    site = Site()
    assert site.call(body=b"x" * 10, namespace=1, CONTENT_LENGTH=length)[0] == 200
    assert site.taken_when_served == 0


def test_large_bodies_take_seats():
    site = Site(seats=20)
    site.admission.enter("others", seats=4)
    response, _ = site.start(body=b"x" * LONGEST, namespace=1)
    assert site.started[-1][0].startswith("503")
    list(response)
    assert site.call(body=b"x" * (LONGEST // 2), namespace=1)[0] == 200


def test_a_place_is_free_again_after_the_response_is_closed():
    site = Site()
    response, _ = site.start(namespace=1)
    list(response)
    assert site.admission.load.served == 1
    response.close()
    assert site.admission.load == Load(0, 0, 0)


def test_errors_lose_no_place(monkeypatch):
    site = Site()

    class Unclosable(list):
        def close(self):
            raise RuntimeError

    class Unreadable:
        def read(self, size):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        site.start(namespace=1, **{"wsgi.input": Unreadable(), "CONTENT_LENGTH": "3"})
    monkeypatch.setattr(site.layer, "application", lambda environ, start_response: Unclosable())
    with pytest.raises(RuntimeError):
        site.start(namespace=1)[0].close()
    monkeypatch.setattr(site.layer, "application", lambda environ, start_response: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        site.start(namespace=1)
    assert site.admission.load == Load(0, 0, 0)


def test_an_application_that_steps_aside_lends_its_place(monkeypatch):
    site = Site()

    def wait(environ, start_response):
        with step_aside():
            assert site.admission.load.served == 0
        assert site.admission.load.served == 1
        start_response("200 OK", [])
        return [b""]

    monkeypatch.setattr(site.layer, "application", wait)
    assert site.call(namespace=1)[0] == 200
    with step_aside():
        assert site.admission.load == Load(0, 0, 0)


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/health"])
def test_a_health_check_is_served_whatever_waits(full, path):
    assert full.call(path)[0] == 200


def test_health_checks_have_a_bound_of_their_own(monkeypatch):
    own = Admission(places=1, seats=1, max_wait=0.05)
    monkeypatch.setattr(overload, "health_admission", own)
    own.enter(STRANGERS)
    site = Site()
    assert site.call("/health/ready")[0] == 503
    assert site.call("/health/live")[0] == 200


@pytest.mark.parametrize("lane", [1, STRANGERS, CONSOLE])
def test_a_flood_of_one_kind_does_not_shut_out_the_others(lane):
    site = Site(places=4, seats=16)
    for key in ("first", "second"):  # a lane that is alone gets every place
        site.admission.leave(site.admission.enter(key))
    site.fill(lane)
    for path, environ in (("/api/v1/x", {"namespace": 1}), ("/admin/", {}), ("/static/x.css", {}), ("/api/v1/x", {})):
        kind = CONSOLE if "api" not in path else environ.get("namespace", STRANGERS)
        assert site.call(path, **environ)[0] == (503 if kind == lane else 200), path


def test_a_namespace_is_known_without_the_database(api, django_assert_num_queries):
    token = f"Bearer {api.token}"
    namespace_cache.clear()
    with django_assert_num_queries(0):
        assert find_known_namespace(token) is None
    caller = find_caller(api.token)
    with django_assert_num_queries(0):
        assert find_known_namespace(token) == caller.namespace_id
        assert find_known_namespace(token.replace("Bearer", "bearer")) == caller.namespace_id
        assert find_known_namespace(token.replace("Bearer", "Basic")) is None
        assert find_known_namespace("Bearer mem_unknown") is None
        assert find_known_namespace("") is None
