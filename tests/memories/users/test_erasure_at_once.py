"""What other requests commit while a user is erased is erased with the user, or is of after the erasure as a whole."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connection, transaction

from memories.graph.models import Relationship
from memories.history.models import MemoryVersion
from memories.models import Memory
from memory_site.operations.selftest.scratch_site import wait_until
from sessions_app.models import IdempotentAnswer
from tests.wire import is_lock_awaited

pytestmark = pytest.mark.django_db(transaction=True)
KEY, SECRET = "notes/quixotry", "What Ada said of the harbour."


def call(work, *args, **fields):
    try:
        return work(*args, **fields)
    finally:
        connection.close()


def test_memory_that_is_being_deleted_does_not_stay_in_the_trash(api):
    api.add(SECRET, key=KEY, user_id="ada")
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert api.delete(f"/memories/by-key/{KEY}?user_id=ada").status_code == 204
            erasure = pool.submit(partial(call, api.delete, "/users/ada"))
            wait_until(is_lock_awaited, 60, "the erasure waits for the memory")
        assert erasure.result(60).json()["erased"]["trash"] == 1
    assert not MemoryVersion.objects.exists()


def test_answer_to_a_memory_that_is_being_stored_does_not_stay(api):
    first, second = (api.add(f"{SECRET} {n}", user_id="ada") for n in range(2))
    api.post(f"/memories/{first['id']}/relationships", {"to_id": second["id"], "type": "led_to"})
    body = {"content": SECRET, "key": KEY, "user_id": "ada"}
    with ThreadPoolExecutor(2) as pool:
        with transaction.atomic():
            Relationship.objects.select_for_update().get()
            erasure = pool.submit(partial(call, api.delete, "/users/ada"))
            wait_until(is_lock_awaited, 60, "the erasure waits, and has looked for answers")
            stored = pool.submit(partial(call, api.post, "/memories", body, **{"Idempotency-Key": "once"}))
            assert stored.result(60).status_code == 201
        assert erasure.result(60).json()["erased"]["memories"] == 3
    assert not Memory.objects.exists()
    assert not IdempotentAnswer.objects.exists()
