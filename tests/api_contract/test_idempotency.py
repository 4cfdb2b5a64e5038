"""A repeated POST with the same Idempotency-Key gets the same response and has no second effect."""

import json
from datetime import timedelta
from functools import partial

import pytest
from django.db.models import F

from memories.models import Memory
from sessions_app import auth
from sessions_app.models import ApiKey, Conversation, IdempotentAnswer
from sessions_app.tasks import delete_old_idempotency_keys
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, list_operations, run_at_once

KEY_HEADER = {"Idempotency-Key": "one try"}
EVERY_POST = pytest.mark.parametrize(
    "operation", [each for each in list_operations() if each.method == "POST"], ids=str
)
TEA_MEMORY = {"content": "Ada likes tea."}


@pytest.mark.django_db
@EVERY_POST
def test_repeated_post_gets_the_same_response(made, ids, operation):
    api = made[0]
    first = api.post(operation.url(ids), operation.example(), **KEY_HEADER)
    before = fingerprint_tables()
    again = api.post(operation.url(ids), operation.example(), **KEY_HEADER)
    assert first.status_code < 300
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again["Content-Type"] == first["Content-Type"]
    assert "Idempotency-Replayed" not in first
    assert again["Idempotency-Replayed"] == "true"
    assert fingerprint_tables() == before


@pytest.mark.django_db
@EVERY_POST
def test_idempotency_key_is_refused_for_another_body(made, ids, operation):
    api = made[0]
    api.post(operation.url(ids), operation.example(), **KEY_HEADER)
    before = fingerprint_tables()
    other = api.raw("POST", operation.url(ids), f" {json.dumps(operation.example())}", **KEY_HEADER)
    assert is_problem(other, 422)
    assert list_blamed_fields(other) == {"Idempotency-Key"}
    assert fingerprint_tables() == before


@pytest.mark.django_db
def test_retry_reports_created(api):
    answers = [api.post("/memories", TEA_MEMORY, **KEY_HEADER) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert [answer.json()["created"] for answer in answers] == [True, True]
    assert Memory.objects.count() == 1


@pytest.mark.django_db
def test_retry_gets_the_old_response_after_deletion(api):
    memory = api.post("/memories", TEA_MEMORY, **KEY_HEADER).json()
    api.delete(f"/memories/{memory['id']}")
    assert api.post("/memories", TEA_MEMORY, **KEY_HEADER).json() == memory
    assert Memory.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("condition", [{}, {"If-None-Match": "*"}], ids=["always", "if new"])
def test_put_that_arrives_after_a_deletion_brings_nothing_back(api, condition):
    headers, path = KEY_HEADER | condition, "/memories/by-key/tea"
    first = api.call("PUT", path, TEA_MEMORY, **headers)
    assert first.status_code == 201
    api.delete(path)
    late = api.call("PUT", path, TEA_MEMORY, **headers)
    assert (late.status_code, late.content, late["ETag"]) == (201, first.content, first["ETag"])
    assert Memory.objects.count() == 0
    assert is_problem(api.call("PUT", path, {"content": "Ada likes coffee."}, **headers), 422)
    assert api.call("PUT", path, TEA_MEMORY, **condition).status_code == 201


@pytest.mark.django_db
def test_put_that_was_refused_may_be_repeated(api):
    path, headers = "/memories/by-key/tea", KEY_HEADER | {"If-None-Match": "*"}
    api.call("PUT", path, TEA_MEMORY)
    assert is_problem(api.call("PUT", path, TEA_MEMORY, **headers), 412)
    api.delete(path)
    assert api.call("PUT", path, TEA_MEMORY, **headers).status_code == 201


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/memories/by-key/tea", TEA_MEMORY),
        ("/preferences/ada/theme", {"value": "dark"}),
        ("/memories/forget-outdated", {"nightly": True}),
    ],
)
def test_every_put_is_answered_once(api, path, body):
    first, again = (api.call("PUT", path, body, **KEY_HEADER) for _ in range(2))
    assert (again["Idempotency-Replayed"], again.status_code) == ("true", first.status_code)
    assert again.content == first.content


def test_every_put_is_one_of_those():
    paths = {each.path for each in list_operations() if each.method == "PUT"}
    assert paths == {"/memories/by-key/{key}", "/preferences/{user_id}/{key}", "/memories/forget-outdated"}


@pytest.mark.django_db
def test_retry_with_wait_reports_an_embedded_memory(api):
    for _ in range(2):
        assert api.post("/memories?wait=true", TEA_MEMORY, **KEY_HEADER).json()["embedded"] is True


@pytest.mark.django_db
def test_idempotency_key_is_refused_for_another_address(api):
    api.post("/memories", TEA_MEMORY, **KEY_HEADER)
    assert is_problem(api.post("/memories?wait=true", TEA_MEMORY, **KEY_HEADER), 422)
    assert is_problem(api.post("/memories/bulk", {"memories": [TEA_MEMORY]}, **KEY_HEADER), 422)


@pytest.mark.django_db
def test_failed_response_is_not_stored(api):
    assert is_problem(api.post("/memories", {"content": " "}, **KEY_HEADER), 422)
    assert is_problem(api.post("/memories/delete", {"filters": {}}, **KEY_HEADER), 422)
    assert api.post("/memories", TEA_MEMORY, **KEY_HEADER).status_code == 201


@pytest.mark.django_db
def test_conflict_response_is_not_stored(api):
    talk = api.post("/conversations", {}).json()
    api.post(f"/conversations/{talk['id']}/end")
    said = {"role": "user", "content": "too late"}
    assert is_problem(api.post(f"/conversations/{talk['id']}/messages", said, **KEY_HEADER), 409)
    Conversation.objects.update(ended_at=None)
    assert api.post(f"/conversations/{talk['id']}/messages", said, **KEY_HEADER).status_code == 201


@pytest.mark.django_db
def test_idempotency_key_expires_after_a_day(api):
    api.post("/memories", TEA_MEMORY, **KEY_HEADER)
    api.post("/memories/search", {"query": "tea"}, **{"Idempotency-Key": "search"})
    IdempotentAnswer.objects.update(created_at=F("created_at") - timedelta(hours=24, seconds=1))
    fresh = api.post("/memories", {"content": "Ada likes coffee."}, **KEY_HEADER)
    assert fresh.status_code == 201
    assert fresh.json()["content"] == "Ada likes coffee."
    assert api.post("/memories/search", {"query": "coffee"}, **{"Idempotency-Key": "search"}).status_code == 200
    assert api.post("/memories", {"content": "Ada likes coffee."}, **KEY_HEADER).content == fresh.content


@pytest.mark.django_db
def test_only_old_responses_are_deleted(api):
    for name in ("old", "young"):
        api.post("/memories", TEA_MEMORY, **{"Idempotency-Key": name})
    IdempotentAnswer.objects.filter(key="old").update(created_at=F("created_at") - timedelta(hours=25))
    assert delete_old_idempotency_keys() == 1
    assert [answer.key for answer in IdempotentAnswer.objects.all()] == ["young"]
    assert delete_old_idempotency_keys() == 0


@pytest.mark.django_db
def test_api_keys_of_one_namespace_do_not_share_responses(api, namespace):
    colleague = type(api)(ApiKey.objects.issue(namespace)[1])
    assert api.post("/memories", TEA_MEMORY, **KEY_HEADER).status_code == 201
    assert colleague.post("/memories", TEA_MEMORY, **KEY_HEADER).status_code == 200


@pytest.mark.django_db
def test_revoked_api_key_gets_no_stored_response(api, namespace):
    api.post("/memories", TEA_MEMORY, **KEY_HEADER)
    ApiKey.objects.get().revoke()
    auth.caller_cache.clear()
    assert is_problem(api.post("/memories", TEA_MEMORY, **KEY_HEADER), 401)


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "a\x7fb", "\xa0"], ids=repr)
def test_a_key_must_be_1_to_255_printable_characters(api, key):
    response = api.post("/memories", TEA_MEMORY, **{"Idempotency-Key": key})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"Idempotency-Key"}
    assert Memory.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["x", "x" * 255, "é", "a'; --"])
def test_any_printable_key_is_accepted(api, key):
    answers = [api.post("/memories", TEA_MEMORY, **{"Idempotency-Key": key}) for _ in range(2)]
    assert answers[0].content == answers[1].content


@pytest.mark.django_db(transaction=True)
def test_concurrent_retries_do_the_work_once(api):
    answers = run_at_once([partial(api.post, "/memories", TEA_MEMORY, **KEY_HEADER)] * 8)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer for answer in answers) == 7
    assert Memory.objects.count() == IdempotentAnswer.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_different_requests_cannot_share_a_key(api):
    contents = [f"number {number}" for number in range(6)]
    answers = run_at_once([partial(api.post, "/memories", {"content": content}, **KEY_HEADER) for content in contents])
    assert sorted(answer.status_code for answer in answers) == [201, *[422] * 5]
    assert Memory.objects.count() == 1
