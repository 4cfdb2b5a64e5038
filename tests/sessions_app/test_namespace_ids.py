"""Ids of namespaces and of API keys, which no two databases give out twice."""

import pytest

from memory_site.core.db.ids import make_random_id
from sessions_app.models import KEY_PREFIX, ApiKey, IdempotentAnswer, Namespace, hash_token
from tests.core.test_divided_tables import fetch_rows

pytestmark = pytest.mark.django_db


def test_random_ids_use_all_of_53_bits():
    ids = [make_random_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert max(ids) < 2**53
    every_bit = 0
    for number in ids:
        every_bit |= number
    assert every_bit == 2**53 - 1


def test_the_application_makes_the_ids_of_namespaces_and_the_database_counts_none():
    first, second = (Namespace.objects.create(name=name).pk for name in ("first", "second"))
    assert abs(first - second) > 1_000  # fails once in 10^12 runs
    assert fetch_rows("SELECT pg_get_serial_sequence('sessions_app_namespace', 'id')") == [(None,)]


def test_a_namespace_keeps_an_id_that_it_is_given():
    assert Namespace.objects.create(id=7, name="earlier").pk == 7
    assert Namespace.objects.get(name="earlier").pk == 7


def test_ids_of_api_keys_are_64_random_bits(namespace):
    ids = {ApiKey.objects.issue(namespace)[0].pk for _ in range(20)}
    assert len(ids) == 20
    assert {len(bytes.fromhex(pk)) for pk in ids} == {8}


def test_a_key_with_a_short_id_of_earlier_still_opens_its_namespace(namespace):
    token = f"{KEY_PREFIX}0123abcd_secret"
    ApiKey.objects.create(id="0123abcd", namespace=namespace, digest=hash_token(token), scopes=["read"])
    assert ApiKey.objects.authenticate(token).namespace_id == namespace.pk


def test_the_answer_of_an_idempotent_request_has_the_namespace_of_its_key(api, namespace):
    api.post("/memories", {"content": "tea"}, **{"Idempotency-Key": "once"})
    assert IdempotentAnswer.objects.get().namespace_id == namespace.pk
    fetch_rows("DELETE FROM sessions_app_apikey RETURNING id")
    fetch_rows("DELETE FROM sessions_app_namespace WHERE id = %s RETURNING id", namespace.pk)
    assert not IdempotentAnswer.objects.exists()
