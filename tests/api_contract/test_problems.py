"""Errors are always problem documents, never HTML pages."""

import json
from uuid import UUID

import pytest
from django.db import connection

from memories.models import Memory
from memory_site.core.http.parsing import BODY_TOO_LARGE
from tests.wire import is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db
TEA_MEMORY = {"content": "tea"}


def test_problem_has_every_field(api):
    response = api.post("/memories", {"content": "", "importance": 9})
    assert is_problem(response, 422)
    assert response.json() == {
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "The request is not valid.",
        "instance": "/api/v1/memories",
        "request_id": response["X-Request-ID"],
        "errors": response.json()["errors"],
    }
    assert list_blamed_fields(response) == {"content", "importance"}
    assert all(set(error) == {"field", "message"} and error["message"] for error in response.json()["errors"])


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/api/v1/memories/", "/api/v2/memories", "/api"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_missing_object_is_a_404(api, path, method):
    response = api.client.generic(method, path, headers={"Authorization": f"Bearer {api.token}"})
    assert is_problem(response, 404)
    assert response.json()["instance"] == path


def test_unknown_host_is_a_400(api):
    for path in ("/api/v1/memories", "/nothing"):
        response = api.client.get(path, headers={"Host": "evil.example"})
        assert is_problem(response, 400)
        assert "evil" not in response.content.decode()


def test_html_pages_keep_html_errors(api):
    response = api.client.get("/admin/nothing/")
    assert not response["Content-Type"].startswith("application/")
    assert response["X-Request-ID"]


# Bodies


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"),
        *("application/vnd.api+json", "application/xml", "", "x", "application/octet-stream"),
    ],
)
def test_body_must_have_the_json_content_type(api, kind):
    response = api.client.generic(
        "POST",
        "/api/v1/memories",
        json.dumps(TEA_MEMORY),
        content_type=kind,
        headers={"Authorization": f"Bearer {api.token}"},
    )
    assert is_problem(response, 415)
    assert Memory.objects.count() == 0


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;charset=x"])
def test_json_content_type_has_any_spelling(api, kind):
    response = api.client.generic(
        "POST",
        "/api/v1/memories",
        json.dumps(TEA_MEMORY),
        content_type=kind,
        headers={"Authorization": f"Bearer {api.token}"},
    )
    assert response.status_code == 201


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "JSON"),
        (b"{'content': 'tea'}", "JSON"),
        (b'{"content": "tea"} {}', "JSON"),
        (b'{"content": "tea", "content": "coffee"}', "twice"),
        (b'{"content": "tea", "metadata": {"a": 1, "\\u0061": 2}}', "twice"),
        (b'{"content": "tea", "confidence": NaN}', "NaN"),
        (b'{"content": "tea", "confidence": Infinity}', "Infinity"),
        (b'{"content": "tea", "confidence": -Infinity}', "Infinity"),
        (b'{"content": "t\xffea"}', "utf-8"),
        (b'{"content": "t\xed\xa0\x80ea"}', "utf-8"),
        ('{"content": "tea"}'.encode("utf-16"), "utf-8"),
        (b"\xef\xbb\xbf" + b'{"content": "tea"}', "JSON"),
        (b'{"content": "tea", "importance": ' + b"9" * 5000 + b"}", "JSON"),
        (b'{"content": "tea", "metadata": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, "deep"),
        (b"[" * 100_000, "deep"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_invalid_json_is_a_400_with_the_reason(api, body, reason):
    response = api.raw("POST", "/memories", body)
    assert is_problem(response, 400)
    assert reason in response.json()["detail"]
    assert len(response.json()["detail"]) < 300
    assert Memory.objects.count() == 0


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (r'{"content": "a\u0000b"}', "content"),
        (r'{"content": "a\ud800b"}', "content"),
        (r'{"content": "tea", "metadata": {"\ud800": 1}}', "metadata"),
        (r'{"content": "tea", "tags": ["\u0000"]}', "tags.0"),
        ('{"content": "tea", "confidence": 1e400}', "confidence"),
        ('{"content": "tea", "metadata": {"a": 1e400}}', "metadata"),
        ('{"content": "tea", "metadata": {"a": 9007199254740992}}', "metadata"),
        ('{"content": "tea", "metadata": {"a": -9007199254740992}}', "metadata"),
        ('{"content": "tea", "importance": true}', "importance"),
        ('{"content": "tea", "importance": 3.0}', "importance"),
        ('{"content": "tea", "importance": "3"}', "importance"),
        ('{"content": "tea", "confidence": false}', "confidence"),
        ('{"content": "tea", "confidence": "1"}', "confidence"),
        ('{"content": 1}', "content"),
        ('{"content": ["tea"]}', "content"),
        ('{"content": "tea", "tags": "a"}', "tags"),
        ('{"content": "tea", "metadata": []}', "metadata"),
        ('{"content": "tea", "metadata": "{}"}', "metadata"),
        ('{"content": "tea", "expires_at": "2190-01-01T00:00:00"}', "expires_at"),
        ('{"content": "tea", "expires_at": 6942672000}', "expires_at"),
        ('{"content": "tea", "created_at": "2020-01-01"}', "created_at"),
        ('{"content": "tea", "unknown": 1}', "unknown"),
        ('{"content": "tea", "entity": {"system": "jira"}}', "entity.id"),
        ("{}", "content"),
        ("[]", "body"),
        ("null", "body"),
        ('"tea"', "body"),
    ],
)
def test_invalid_value_is_a_422_with_the_field(api, raw, field):
    response = api.raw("POST", "/memories", raw)
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
    assert Memory.objects.count() == 0


@pytest.mark.parametrize(
    ("field", "limit"),
    [("content", 100_000), ("summary", 10_000), ("user_id", 255), ("source_system", 255)],
)
def test_texts_have_the_documented_maximum_length(api, field, limit):
    assert api.post("/memories", TEA_MEMORY | {field: "x" * limit}).status_code == 201
    assert list_blamed_fields(api.post("/memories", TEA_MEMORY | {field: "x" * (limit + 1)})) == {field}


def test_lengths_are_counted_in_characters(api):
    assert api.post("/memories", TEA_MEMORY | {"user_id": "🐈" * 255}).status_code == 201


def build_nested(levels: int) -> dict:
    return {"a": build_nested(levels - 1)} if levels > 1 else {"a": 1}


@pytest.mark.parametrize("field", ["metadata", "data"])
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (build_nested(8), build_nested(9)),
        ({str(n): 1 for n in range(256)}, {str(n): 1 for n in range(257)}),
        ({"a": "x" * 65_000}, {"a": "x" * 66_000}),
        ({"a": ["é" * 30_000]}, {"a": ["é" * 33_000]}),
        ({"a": 2**53 - 1, "b": -(2**53) + 1}, {"a": 2**53}),
    ],
    ids=["levels", "keys", "bytes", "wide bytes", "integers"],
)
def test_objects_have_the_documented_maximum_size(api, field, good, bad):
    response = api.post("/memories", TEA_MEMORY | {field: good})
    assert response.status_code == 201
    assert response.json()[field] == good
    assert list_blamed_fields(api.post("/memories", TEA_MEMORY | {field: bad})) == {field}


def test_tags_are_64_of_128_characters_at_most(api):
    assert api.post("/memories", TEA_MEMORY | {"tags": [f"{n:0128}" for n in range(64)]}).status_code == 201
    assert list_blamed_fields(api.post("/memories", TEA_MEMORY | {"tags": [str(n) for n in range(65)]})) == {"tags"}
    assert list_blamed_fields(api.post("/memories", TEA_MEMORY | {"tags": ["x" * 129]})) == {"tags.0"}


@pytest.mark.parametrize(
    "blank", [" ", "\t\n", "\u00a0", "\u200b\u2060", "\u3164", "\u2800", "\u202e", "\x07", "\ufe0f"]
)
@pytest.mark.parametrize("field", ["content", "user_id", "source_system"])
def test_invisible_text_is_blank(api, field, blank):
    assert list_blamed_fields(api.post("/memories", TEA_MEMORY | {field: blank})) == {field}


def test_a_body_of_5_mb_is_read_and_a_larger_one_is_not(api):
    limit = 5 * 2**20
    for size, status in ((limit, 422), (limit + 1, 413)):
        body = json.dumps(TEA_MEMORY | {"content": ""})
        response = api.raw("POST", "/memories", body.replace('""', f'"{"x" * (size - len(body))}"'))
        assert is_problem(response, status)
    assert response.json()["detail"] == BODY_TOO_LARGE


def test_invalid_content_length_is_a_400(api):
    for length in ("x", "-1", "9" * 30, "1e3"):
        response = api.client.generic(
            "POST",
            "/api/v1/memories",
            json.dumps(TEA_MEMORY),
            content_type="application/json",
            headers={"Authorization": f"Bearer {api.token}"},
            CONTENT_LENGTH=length,
        )
        assert is_problem(response, 400)


# Parameters


def test_unknown_parameter_is_refused_and_named(api):
    memory = api.add("tea")
    for method, path, body in (
        ("GET", "/memories", None),
        ("GET", f"/memories/{memory['id']}", None),
        ("POST", "/memories", TEA_MEMORY),
        ("DELETE", f"/memories/{memory['id']}", None),
    ):
        response = api.call(method, f"{path}?limt=5&user=ada", body)
        assert is_problem(response, 422)
        assert list_blamed_fields(response) == {"limt", "user"}
    assert Memory.objects.count() == 1


# Request ids


@pytest.mark.parametrize("offered", ["a", "req-1.2:3_4", "x" * 128])
def test_client_request_id_is_used(api, offered):
    for response in (
        api.get("/memories", **{"X-Request-ID": offered}),
        api.get("/nothing", **{"X-Request-ID": offered}),
        api.post("/memories", {}, **{"X-Request-ID": offered}),
    ):
        assert response["X-Request-ID"] == offered
        assert response.status_code == 200 or response.json()["request_id"] == offered


@pytest.mark.parametrize("offered", ["", "x" * 129, "a b", "é", "<script>", 'a"b', "a\x7f"])
def test_other_requests_get_a_new_id(api, offered):
    response = api.get("/memories", **{"X-Request-ID": offered})
    assert UUID(response["X-Request-ID"]).version == 4


def test_two_requests_have_two_ids(api):
    assert api.get("/memories")["X-Request-ID"] != api.get("/memories")["X-Request-ID"]


# What goes wrong here


def test_server_error_is_a_500_without_details(api, settings):
    settings.EMBEDDINGS = {}
    response = api.post("/memories/search", {"query": "a secret"})
    assert is_problem(response, 500)
    assert "secret" not in response.content.decode()
    assert "EMBEDDINGS" not in response.content.decode()


def test_problems_never_repeat_the_input(api):
    response = api.post("/memories", {"content": "fine", "importance": "hunter2", "tags": ["hunter2" * 30]})
    assert is_problem(response, 422)
    assert "hunter2" not in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_busy_database_is_a_503(api):
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE memories_memory IN ACCESS EXCLUSIVE MODE")
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 100")
        response = api.get("/memories")
        assert is_problem(response, 503)
        assert int(response["Retry-After"]) > 0
    finally:
        other.close()
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
    assert api.get("/memories").status_code == 200


def test_responses_are_not_cacheable(api):
    for response in (api.get("/memories"), api.get("/nothing"), api.post("/memories", {})):
        assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "said"),
    [
        ("POST", "/memories/search", {}, "query", "query or vector is required"),
        ("POST", "/memories/search", {"mode": "text"}, "query", "is required"),
        ("POST", "/memories/search", {"querry": "x"}, "querry", "did you mean `query`?"),
        ("POST", "/memories/search", {"query": "x", "user_id": "a"}, "user_id", "did you mean `filters.user_id`?"),
        ("POST", "/memories/search", {"query": "x", "filters": {"tag": []}}, "filters.tag", "did you mean `tags`?"),
        ("POST", "/memories", TEA_MEMORY | {"type": "agent"}, "type", "did you mean `memory_type`?"),
        (
            *("POST", "/memories", TEA_MEMORY | {"ttl_seconds": 5, "expires_at": "2100-01-01T00:00:00Z"}),
            *("ttl_seconds", "may not be given with expires_at"),
        ),
        (
            *("POST", "/memories/bulk", {"memories": [TEA_MEMORY, TEA_MEMORY | {"Tags": []}]}),
            *("memories.1.Tags", "did you mean `tags`?"),
        ),
        ("POST", "/memories/bulk", [TEA_MEMORY], "body", "must be a JSON object"),
        ("POST", "/sessions/a/interactions", {"interaction": []}, "interaction", "did you mean `interactions`?"),
        ("POST", "/users/ada/finish-task", {}, "session_id", "session_id or workflow_id is required"),
        ("POST", "/projects/register", {"name": "x", "repositories": [{}]}, "repositories.0.id", "id, name"),
        (
            *("POST", "/projects/dependencies", {"source_project": "a", "target_project": "a", "type": "uses"}),
            *("target_project", "a project cannot depend on itself"),
        ),
        ("POST", "/projects/share", {"insight": "x" * 40}, "target_projects", "target_repositories is required"),
        (
            *("POST", "/search", {"query": "x", "user_id": "a", "filters": {"user_id": "b"}}),
            *("filters.user_id", "may not be given with user_id as well"),
        ),
        ("GET", "/memories?tag=a", None, "tag", "did you mean `tags`?"),
        ("GET", "/conversations?user=ada", None, "user", "did you mean `user_id`?"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_error_names_the_field_that_is_wrong_and_the_one_that_is_meant(api, method, path, body, field, said):
    response = api.call(method, path, body)
    assert is_problem(response, 422)
    messages = {each["field"]: each["message"] for each in response.json()["errors"]}
    assert said in messages[field], messages


def test_very_many_unknown_parameters_are_named_in_part(api):
    response = api.get("/memories?" + "&".join(f"x{number}=1" for number in range(900)))
    assert is_problem(response, 422)
    assert len(response.json()["errors"]) == 100
