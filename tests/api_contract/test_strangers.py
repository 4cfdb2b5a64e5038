"""Without a key every address below /api/v1 is a 401, whatever else is wrong; the documentation is open."""

import gzip
import json
from urllib.parse import quote

import pytest
from django.db import OperationalError

from memories.models import Memory
from memory_site.api import api as documented_api
from sessions_app.models import ApiKey
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
JSON = {"content_type": "application/json"}
WRONG_REQUESTS = [
    ("GET", "/memories?no_such_parameter=1", {}),
    ("GET", "/memories?limit=0", {}),
    ("GET", "/memories?user_id=%FF", {}),
    ("POST", "/memories", {"data": "{", **JSON}),
    ("POST", "/memories", {"data": '{"content": ""}', **JSON}),
    ("POST", "/memories", {"data": "content=tea", "content_type": "text/plain"}),
    ("POST", "/memories", {"data": gzip.compress(b"{}", mtime=0), **JSON, "headers": {"Content-Encoding": "gzip"}}),
    ("POST", "/memories", {"data": "x" * (5 * 2**20 + 1), **JSON}),
    ("PUT", "/memories", {}),
    ("OPTIONS", "/memories", {}),
    ("GET", "/memories/not-an-id", {}),
    ("GET", "/nothing", {}),
    ("GET", "/users/%FF", {}),
    ("GET", "/", {}),
    ("GET", "/docs/", {}),
]


@pytest.mark.parametrize("token", [None, "mem_00000000_unknown"])
@pytest.mark.parametrize(("method", "path", "sent"), WRONG_REQUESTS, ids=lambda value: str(value)[:60])
def test_every_wrong_request_without_a_key_is_a_401(stranger, token, method, path, sent):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    sent = sent | {"headers": sent.get("headers", {}) | headers}
    response = stranger.client.generic(method, f"/api/v1{path}", **sent)
    assert is_problem(response, 401)
    assert response["WWW-Authenticate"] == "Bearer"
    assert "errors" not in response.json()
    assert Memory.objects.count() == 0


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_the_documentation_needs_no_key(stranger, path):
    assert stranger.get(path).status_code == 200


def test_the_document_is_made_once():
    """It takes seconds of processor time, for which strangers could ask again and again."""
    assert documented_api.get_openapi_schema() is documented_api.get_openapi_schema()


def test_a_key_is_told_what_is_wrong(api):
    assert is_problem(api.get("/memories?no_such_parameter=1"), 422)
    assert is_problem(api.get("/nothing"), 404)
    assert is_problem(api.call("PUT", "/memories"), 405)


def test_an_absent_database_is_a_503(stranger, monkeypatch):
    def fail(self, token):
        raise OperationalError("away")

    monkeypatch.setattr(type(ApiKey.objects), "authenticate", fail)
    response = stranger.get("/nothing", Authorization="Bearer mem_00000000_unknown")
    assert is_problem(response, 503)
    assert response["Retry-After"] == "5"


# Addresses and bodies


@pytest.mark.parametrize(
    ("path", "part"),
    [
        *(("/users/%FF", "path"), ("/users/a%C3%28/memories", "path"), ("/users/%ED%A0%80", "path")),
        *(("/memories?user_id=%FF", "query"), ("/memories?user_id=a%E4%B8", "query"), ("/memories?%FF=1", "query")),
    ],
)
def test_address_that_is_not_utf8_is_a_400(api, path, part):
    response = api.get(path)
    assert is_problem(response, 400)
    assert response.json()["detail"] == f"The {part} of the address is not valid UTF-8."


@pytest.mark.parametrize("user", ["中文", "%FF", "a b+c", "ü/é"])
def test_any_utf8_address_is_understood(api, user):
    api.add("tea", user_id=user)
    assert [each["user_id"] for each in api.get(f"/memories?user_id={quote(user)}").json()["results"]] == [user]
    assert api.get(f"/users/{quote(user, safe='')}").json()["user_id"] == user


def test_other_pages_refuse_wrong_addresses_too(stranger):
    assert stranger.client.get("/health/live?%FF").status_code == 400
    assert stranger.client.get("/admin/?%FF").status_code == 400


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "identity, gzip", "x"])
def test_compressed_body_is_a_415(api, encoding):
    body = gzip.compress(json.dumps({"content": "tea"}).encode())
    response = api.raw("POST", "/memories", body, **{"Content-Encoding": encoding})
    assert is_problem(response, 415)
    assert response["Accept-Encoding"] == "identity"
    assert response.json()["detail"] == "The body must not be compressed."


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_plain_body_may_say_so(api, encoding):
    assert api.post("/memories", {"content": "tea"}, **{"Content-Encoding": encoding}).status_code == 201
