"""X-Consistency without replicas: wrong values are refused, the primary answers, and every operation says what it may.

Replicas are read in tests/stack/test_replicas.py.
"""

import pytest
from django.db import connection, transaction

from memories.models import Memory
from tests.wire import is_problem, list_operations, list_replica_reads, load_openapi

pytestmark = pytest.mark.django_db
EVENTUAL = {"X-Consistency": "eventual"}


@pytest.mark.parametrize("value", ["", "Eventual", "eventually", "strong, eventual", "\u00e9"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/memories"), ("POST", "/memories")])
def test_unknown_consistency_is_a_422_that_names_the_header(api, method, path, value):
    response = api.call(method, path, {"content": "Tea."} if method == "POST" else None, **{"X-Consistency": value})
    assert is_problem(response, 422)
    assert [error["field"] for error in response.json()["errors"]] == ["X-Consistency"]
    assert not Memory.objects.exists()


@pytest.mark.parametrize("value", ["", "0", "0/", "/0", "0/16B3748/1", "0/16B374800", "-1/2", "0/G", "0/1\u00b2"])
def test_wrong_token_is_a_422_that_names_the_header(api, value):
    response = api.get("/memories", **EVENTUAL, **{"X-Consistency-Token": value})
    assert is_problem(response, 422)
    assert [error["field"] for error in response.json()["errors"]] == ["X-Consistency-Token"]


def test_wrong_value_needs_a_key_like_everything_else(stranger):
    assert is_problem(stranger.get("/memories", **{"X-Consistency": "no"}), 401)


@pytest.mark.parametrize("asked", ["strong", "eventual"])
def test_without_replicas_the_primary_answers(api, asked):
    stored = api.post("/memories", {"content": "Tea."}, **{"X-Consistency": asked})
    found = api.get(f"/memories/{stored.json()['id']}", **{"X-Consistency": asked, "X-Consistency-Token": "FFFFFFFF/0"})
    missing = api.get("/conversations/01890000-0000-7000-8000-000000000000", **{"X-Consistency": asked})
    assert [response.status_code for response in (stored, found, missing)] == [201, 200, 404]
    assert [response["X-Consistency"] for response in (stored, found, missing)] == ["strong"] * 3
    assert "X-Consistency-Token" not in stored


def test_answer_says_nothing_to_who_does_not_ask(api):
    assert "X-Consistency" not in api.get("/memories")


@pytest.mark.parametrize("operation", [each for each in list_operations() if each.reads], ids=str)
def test_operation_that_reads_changes_and_locks_nothing(made, ids, operation):
    """As on a replica, which refuses both."""
    caller = made[0]
    assert caller.get("/summary").status_code == 200  # notes the use of the key
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL transaction_read_only = on")
        response = caller.call(operation.method, operation.url(ids), operation.example())
        transaction.set_rollback(True)
    assert response.status_code == 200, response.content


def test_operations_that_read_document_that_a_replica_may_answer():
    documented = {
        operation["operationId"]: {each["name"] for each in operation["parameters"]}
        for methods in load_openapi()["paths"].values()
        for operation in methods.values()
    }
    reading = {name for name, parameters in documented.items() if "X-Consistency-Token" in parameters}
    assert len(reading) == len(list_replica_reads()) > 40
    assert {"search_memories", "get_context", "list_memories", "session_context"} <= reading
    assert {"retrieve_memories", "recall_memories", "add_memory"}.isdisjoint(reading)
    assert all("X-Consistency" in parameters for parameters in documented.values())
