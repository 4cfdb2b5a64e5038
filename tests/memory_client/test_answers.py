"""Answers of other servers, of later and earlier versions, and of proxies in between."""

import asyncio
import copy
import pickle

import pytest

from memory_client import (
    AsyncMemoryClient,
    ConnectionFailed,
    InvalidInput,
    MemoryClient,
    NotModified,
    ProblemError,
    Unavailable,
    UnexpectedAnswer,
)
from memory_client.answers import explain_redirect
from memory_client.models import Memory, SearchResult
from tests.memory_client.servers import Answer, answering, running
from tests.wire import load_openapi

#: The API's own example of a memory.
MEMORY = load_openapi()["paths"]["/memories/{memory_id}"]["get"]["responses"]["200"]["content"]["application/json"][
    "example"
]

#: What is skipped is read nevertheless.
DEEP = '{"unknown": ' + "[" * 100_000 + "]" * 100_000 + "}"


def name_body(body: object) -> str:
    return ascii(body)[:20]


def ask(answer: Answer, kind=None, method="GET"):
    with running(answering(answer)) as server, MemoryClient(server.url, "mem_any", retries=0) as client:
        return client.request(method, "/memories", json={} if method == "POST" else None, type=kind)


def test_later_server_may_say_more():
    later = MEMORY | {"memory_type": "dream", "state": "asleep", "mood": "good", "entity": None}
    memory = ask(Answer(200, later), Memory)
    assert (memory.memory_type, memory.state, memory.created_at.year) == ("dream", "asleep", 2026)


def test_what_may_be_null_may_be_missing():
    memory = ask(Answer(200, {name: value for name, value in MEMORY.items() if name != "user_id"}), Memory)
    assert memory.user_id is None


def test_etag_of_the_answer_is_the_memory_s():
    assert ask(Answer(200, MEMORY, {"ETag": '"7"'}), Memory).etag == '"7"'
    assert ask(Answer(200, MEMORY), Memory).etag is None


def test_problem_document_is_an_exception():
    problem = {
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "The request is not valid.",
        "request_id": "r-1",
        "errors": [{"field": "filters.tags.0", "message": "is empty"}, {"field": "limit", "message": "is 0"}],
    }
    with pytest.raises(InvalidInput) as error:
        ask(Answer(422, problem, content_type="application/problem+json"))
    assert error.value.field == "filters.tags.0"
    assert [each.field for each in error.value.errors] == ["filters.tags.0", "limit"]
    said = "422 Unprocessable Content: The request is not valid. filters.tags.0: is empty; limit: is 0 (request r-1)"
    assert str(error.value) == said


def test_text_of_an_error_moves_no_cursor():
    with pytest.raises(ProblemError) as error:
        ask(Answer(502, {"title": "\x1b[2J", "detail": "up\r\n\u202edown"}))
    assert str(error.value) == "502 \N{REPLACEMENT CHARACTER}[2J: up" + "\N{REPLACEMENT CHARACTER}" * 3 + "down"


def test_no_part_of_an_error_has_control_characters_or_a_book():
    """Adapters pass the parts on to models and logs."""
    text = "\x1b[31m\x9b" + "x" * 100_000
    problem = {"title": text, "detail": text, "request_id": text, "errors": [{"field": text, "message": text}]}
    with pytest.raises(InvalidInput) as error:
        ask(Answer(422, problem))
    redirect = Answer(302, "", {"Location": "https://there/\x1b[31m", "X-Request-ID": "\x9b"})
    with pytest.raises(UnexpectedAnswer, match="leads to https") as redirected:
        ask(redirect)
    parts = [error.value.title, error.value.detail, error.value.request_id, error.value.field, str(error.value)]
    parts += [error.value.errors[0].message, redirected.value.detail, str(redirected.value)]
    assert all(part.isprintable() and len(part) < 11_000 for part in parts)


@pytest.mark.parametrize(
    "body",
    ["<html><h1>Bad gateway</h1>", "", b"\xff\xfe", '{"title": 7}', "[" * 100_000, DEEP, '{"errors": [1]}'],
    ids=name_body,
)
@pytest.mark.parametrize("status", [502, 418, 299 + 300])
def test_error_that_is_no_problem_document(status, body):
    with pytest.raises(ProblemError) as error:
        ask(Answer(status, body, {"X-Request-ID": "r-2"}, "text/html"))
    assert (error.value.status, error.value.request_id) == (status, "r-2")
    assert error.value.title and isinstance(error.value, Unavailable) == (status == 502)


HERE = "http://here/api/v1/memories?limit=1"
ELSEWHERE = "http://here/api/v1/memories leads to {}. Redirects are not followed. {}"
SET = "Set MEMORY_URL, or the url that the client was made with, to"
CHECK = f"{SET} the address at which the site itself answers."


@pytest.mark.parametrize(
    ("location", "detail"),
    [
        (
            "https://there/api/v1/memories?limit=1",
            ELSEWHERE.format("https://there/api/v1/memories", f"{SET} https://there."),
        ),
        (
            "https://there/below/api/v1/memories",
            ELSEWHERE.format("https://there/below/api/v1/memories", f"{SET} https://there/below."),
        ),
        ("https://ada:word@sso/login?next=secret#part", ELSEWHERE.format("https://sso/login", CHECK)),
        ("/login", ELSEWHERE.format("http://here/login", CHECK)),
        ("//there/api/v1/memories/", ELSEWHERE.format("http://there/api/v1/memories/", CHECK)),
        ("/api/v1/memories", ELSEWHERE.format("http://here/api/v1/memories", CHECK)),
        ("ftp://there/api/v1/memories", ELSEWHERE.format("ftp://there/api/v1/memories", CHECK)),
        ("http://[there", ELSEWHERE.format("another address", CHECK)),
        ("", ELSEWHERE.format("another address", CHECK)),
    ],
)
def test_redirect_says_what_to_set(location, detail):
    assert explain_redirect(HERE, location) == detail


@pytest.mark.parametrize("client_class", [MemoryClient, AsyncMemoryClient])
def test_redirect_names_both_addresses_and_not_the_key(client_class):
    redirect = Answer(308, "", {"Location": "https://there/api/v1/memories"}, "text/html")
    with running(answering(redirect)) as server, pytest.raises(UnexpectedAnswer) as error:
        call_with(client_class, server.url)
    assert str(error.value).startswith(f"308 The server redirects: {server.url}/api/v1/memories leads")
    assert str(error.value).endswith("to https://there.") and "mem_any" not in repr(error.value)
    assert len(server.requests) == 1


def call_with(client_class, url):
    client = client_class(url, "mem_any", retries=2)
    if client_class is MemoryClient:
        with client:
            return client.request("GET", "/memories")

    async def ask():
        async with client:
            return await client.request("GET", "/memories")

    return asyncio.run(ask())


def test_not_modified_is_no_redirect():
    with pytest.raises(NotModified) as error:
        ask(Answer(304, "", {"ETag": '"7"'}))
    assert error.value.status == 304 and error.value.title == "Not Modified"


def test_page_of_html_is_a_wrong_address():
    with pytest.raises(UnexpectedAnswer, match="check the url"):
        ask(Answer(200, "<html>Sign in</html>", content_type="text/html"), Memory)


@pytest.mark.parametrize("body", ['{"id": 1}', "[]", "{", "null", DEEP, '{"results": [], "mode": 7}'], ids=name_body)
def test_json_of_another_shape(body):
    with pytest.raises(UnexpectedAnswer, match="another shape"):
        ask(Answer(200, body), SearchResult)


def test_body_that_cannot_be_unpacked_is_no_answer():
    with pytest.raises(ConnectionFailed, match="gave no answer"):
        ask(Answer(200, b"not gzip", {"Content-Encoding": "gzip"}))


def test_no_content_is_none_for_a_deletion():
    assert ask(Answer(204, ""), method="DELETE") is None


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.parametrize(
    ("method", "kind"),
    [("GET", None), ("GET", Memory), ("GET", {200: Memory}), ("POST", None), ("DELETE", Memory)],
    ids=["read", "typed", "by status", "written", "typed deletion"],
)
def test_missing_body_is_no_answer(method, kind, status):
    with pytest.raises(UnexpectedAnswer, match="is empty"):
        ask(Answer(status, ""), kind, method)


def test_missing_file_is_no_answer_and_an_empty_one_is():
    with pytest.raises(UnexpectedAnswer, match="is empty"):
        ask(Answer(204, ""), bytes)
    assert ask(Answer(200, "", content_type="text/csv"), bytes) == b""


def test_status_that_is_not_of_the_operation():
    with pytest.raises(UnexpectedAnswer, match="203 The answer has another status"):
        ask(Answer(203, MEMORY), {200: Memory, 201: Memory})


def test_errors_can_be_copied_between_processes():
    with pytest.raises(InvalidInput) as error:
        ask(Answer(422, {"title": "No", "errors": [{"field": "a", "message": "b"}]}))
    for same in (pickle.loads(pickle.dumps(error.value)), copy.copy(error.value)):
        assert (same.status, same.field, str(same)) == (422, "a", str(error.value))
