"""A caller of another namespace sees nothing and changes nothing, by any operation."""

import pytest

from memories.models import Memory
from sessions_app import auth
from sessions_app.models import SCOPES, ApiKey, Namespace
from tests.api_contract.conftest import SECRET_WORD
from tests.conftest import Api
from tests.wire import conforms_to_any, fingerprint_tables, is_problem, list_operations

pytestmark = pytest.mark.django_db
EVERY_OPERATION = pytest.mark.parametrize("operation", list_operations(), ids=str)
EVERY_CHANGE = pytest.mark.parametrize("operation", [each for each in list_operations() if not each.reads], ids=str)
#: They find, change or merge into what others have stored, and answer with it: besides `write` they need `read`.
CHANGES_THAT_ANSWER_WITH_CONTENTS = {
    *("POST /memories/recall", "POST /memories/{memory_id}/recall", "POST /users/{user_id}/retrieve"),
    *("PATCH /memories/{memory_id}", "POST /memories/{memory_id}/state", "POST /memories/{memory_id}/supersede"),
    *("POST /memories/{memory_id}/restore", "POST /memories/{memory_id}/relationships"),
    *("PATCH /conversations/{conversation_id}", "POST /conversations/{conversation_id}/end"),
    *("DELETE /conversations/{conversation_id}/messages/last", "POST /session-links"),
    "PATCH /workflows/{workflow_id}/executions/{execution_id}",
    *("POST /insights", "POST /insights/extract", "POST /insights/{insight_id}/use"),
    *("POST /projects/groups", "PATCH /projects/groups/{group_id}", "POST /projects/register"),
    *("POST /projects/dependencies", "POST /projects/share"),
    *("POST /patterns", "PATCH /patterns/{pattern_id}", "POST /patterns/discover"),
    *("POST /clusters", "PATCH /clusters/{cluster_id}", "PUT /preferences/{user_id}/{key}"),
    *("POST /jobs", "POST /jobs/{job_id}/cancel", "POST /jobs/{ended_job_id}/undo"),
}
OPEN_TO_EVERY_KEY = {"GET /key"}
WITH_A_SCOPE = [operation for operation in list_operations() if str(operation) not in OPEN_TO_EVERY_KEY]


@pytest.fixture
def api(made, db) -> Api:
    return made[0]


@pytest.fixture
def namespace(made, db) -> Namespace:
    return Namespace.objects.get(name="ours")


def call_operation(caller, operation, ids: dict[str, str]):
    return caller.call(operation.method, operation.url(ids), operation.example())


@EVERY_OPERATION
def test_owner_gets_the_documented_response(api, ids, operation):
    response = call_operation(api, operation, ids)
    assert response.status_code < 300, response.content
    if response.get("Content-Type") == "application/json":
        schema = operation.answers[str(response.status_code)]
        assert conforms_to_any(response.json(), schema), f"{response.json()} is not {schema}"


@EVERY_OPERATION
def test_other_namespace_sees_and_changes_nothing(namespace, outsider, ids, operation):
    before = fingerprint_tables(namespace.pk)
    response = call_operation(outsider, operation, ids)
    assert response.status_code == 404 if operation.names_what_must_exist else response.status_code < 300
    assert SECRET_WORD not in response.content.decode()
    assert not any(
        value in response.content.decode() for value in ids.values() if value not in response.request["PATH_INFO"]
    )
    assert fingerprint_tables(namespace.pk) == before


@EVERY_OPERATION
def test_missing_key_is_refused(namespace, stranger, ids, operation):
    before = fingerprint_tables()
    response = call_operation(stranger, operation, ids)
    assert is_problem(response, 401)
    assert response["WWW-Authenticate"] == "Bearer"
    assert fingerprint_tables() == before


@EVERY_OPERATION
def test_read_scope_changes_nothing(reader, ids, operation):
    before = fingerprint_tables()
    response = call_operation(reader, operation, ids)
    if operation.reads:
        assert response.status_code < 300
    else:
        assert is_problem(response, 403)
    assert fingerprint_tables() == before


@pytest.mark.parametrize("operation", WITH_A_SCOPE, ids=str)
def test_key_without_the_scope_is_refused(namespace, api, ids, operation):
    writer = type(api)(ApiKey.objects.issue(namespace, scopes=("write",) if operation.reads else ("read",))[1])
    assert is_problem(call_operation(writer, operation, ids), 403)


@EVERY_CHANGE
def test_key_without_read_gets_no_contents_by_a_change(namespace, api, ids, operation):
    writer = type(api)(ApiKey.objects.issue(namespace, scopes=("write",))[1])
    response = call_operation(writer, operation, ids)
    if str(operation) in CHANGES_THAT_ANSWER_WITH_CONTENTS:
        assert is_problem(response, 403)
        assert "'read'" in response.json()["detail"]
    else:
        assert response.status_code < 300
        assert SECRET_WORD not in response.content.decode()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"content": "Acme", "entity": {"system": "crm", "id": "7", "name": SECRET_WORD}}, {"content": "Acme pays."}),
        ({"content": "Acme pays late."}, {}),
        ({"content": "The harbour opens at nine, and closes at five.", "memory_type": "insight"}, {}),
    ],
    ids=["entity", "content", "insight"],
)
def test_key_without_read_gets_no_contents_of_what_was_there(namespace, api, theirs, ours):
    secrets = {
        "summary": SECRET_WORD,
        "data": {"a": SECRET_WORD},
        "metadata": {"a": SECRET_WORD},
        "tags": [SECRET_WORD],
    }
    known = api.post("/memories", theirs | secrets).json()
    writer = type(api)(ApiKey.objects.issue(namespace, scopes=("write",))[1])
    sent = theirs | ours | ({"entity": {"system": "crm", "id": "7"}} if "entity" in theirs else {})
    answer = writer.post("/memories", sent)
    assert (answer.status_code, answer.json()["id"], answer.json()["content"]) == (200, known["id"], sent["content"])
    assert SECRET_WORD not in answer.content.decode()
    assert SECRET_WORD in api.post("/memories", sent).content.decode()


@EVERY_OPERATION
def test_revoked_key_is_refused(api, ids, operation):
    ApiKey.objects.get().revoke()
    auth.caller_cache.clear()
    assert is_problem(call_operation(api, operation, ids), 401)


def test_namespaces_do_not_share_duplicates(api, outsider):
    mine, theirs = api.add("Ada likes tea.", user_id="ada"), outsider.add("Ada likes tea.", user_id="ada")
    assert theirs["created"] is True
    assert mine["id"] != theirs["id"]


def test_other_namespace_cannot_refer_to_rows_by_id(api, outsider, ids):
    by_id = {"ids": [ids["memory_id"]]}
    assert outsider.get(f"/memories?ids={ids['memory_id']}").json()["results"] == []
    assert outsider.search(SECRET_WORD, filters=by_id)["results"] == []
    assert outsider.post("/memories/delete", {"filters": by_id}).json() == {"matched": 0, "deleted": 0}
    assert Memory.objects.filter(pk=ids["memory_id"]).exists()


def test_other_namespace_cannot_use_cursors(elsewhere, outsider):
    api = Api(ApiKey.objects.issue(elsewhere, scopes=SCOPES)[1])
    for number in range(3):
        api.add(f"number {number}")
    cursor = api.get("/memories?limit=1").json()["next"]
    assert outsider.get(f"/memories?cursor={cursor}").json()["results"] == []
    assert len(api.get(f"/memories?cursor={cursor}").json()["results"]) == 2


def test_other_namespace_finds_nothing_by_meaning(api, outsider):
    vector = [1.0] + [0.0] * 767
    api.add("ours", vector=vector)
    assert outsider.search(None, vector=vector, mode="vector")["results"] == []
    theirs = outsider.add("theirs", vector=vector)
    hits = outsider.search(None, vector=vector, mode="vector")["results"]
    assert [hit["memory"]["id"] for hit in hits] == [theirs["id"]]


def test_other_namespace_gets_no_stored_response(api, outsider):
    key = {"Idempotency-Key": "the same"}
    ours = api.post("/memories", {"content": "tea"}, **key).json()
    theirs = outsider.post("/memories", {"content": "tea"}, **key)
    assert theirs.status_code == 201
    assert theirs.json()["id"] != ours["id"]
