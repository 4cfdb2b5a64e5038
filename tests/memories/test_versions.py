"""The ETag of a memory, and requests that depend on it: no update is lost."""

from functools import partial
from uuid import uuid4

import pytest
from django.db import connection

from memories import tasks
from memories.models import Memory
from memory_site.core.http.preconditions import read_preconditions
from memory_site.core.http.problems import Problem
from tests.wire import is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
KEY_ADDRESS = "/memories/by-key/style?user_id=ada"
TEXT, NEW_TEXT = "Ada prefers short answers.", "Ada prefers long answers."


@pytest.fixture
def memory(api) -> dict:
    return api.add(TEXT, key="style", user_id="ada")


@pytest.fixture(params=["by id", "by key"])
def address(request, memory) -> str:
    return KEY_ADDRESS if request.param == "by key" else f"/memories/{memory['id']}"


def get_etag(api, memory: dict) -> str:
    return api.get(f"/memories/{memory['id']}")["ETag"]


def write(api, method: str, address: str, **headers: str):
    body = {"PATCH": {"content": NEW_TEXT}, "PUT": {"content": NEW_TEXT}}.get(method)
    return api.call(method, address, body, **{name.replace("_", "-"): value for name, value in headers.items()})


def list_writes(memory: dict) -> list[tuple[str, str]]:
    by_id = f"/memories/{memory['id']}"
    return [("PATCH", by_id), ("PUT", KEY_ADDRESS), ("DELETE", by_id), ("DELETE", KEY_ADDRESS)]


# The tag


def test_every_answer_with_one_memory_has_its_etag(api, memory):
    path, other = f"/memories/{memory['id']}", api.add("Another.", user_id="ada")
    answers = [
        api.post("/memories", {"content": TEXT, "key": "style", "user_id": "ada"}),
        api.call("PUT", KEY_ADDRESS, {"content": TEXT}),
        api.patch(path, {"importance": 4}),
        api.get(path),
        api.get(KEY_ADDRESS),
        api.post(f"{path}/recall"),
        api.post(f"{path}/restore", {}),
        api.post(f"{path}/supersede", {"by": other["id"]}),
        api.post(f"{path}/state", {"state": "active"}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.content
        assert answer["ETag"] == f'"{answer.json()["revision"]}"'


def test_repeated_post_has_the_etag_of_the_first_answer(api):
    first, again = (api.post("/memories", {"content": TEXT}, **{"Idempotency-Key": "1"}) for _ in range(2))
    assert again["Idempotency-Replayed"] == "true"
    assert again["ETag"] == first["ETag"]


def change_by_sql(api, memory: dict) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE memories_memory SET tags = ARRAY['seen'] WHERE id = %s", [memory["id"]])


def restore(api, memory: dict) -> None:
    api.patch(f"/memories/{memory['id']}", {"content": NEW_TEXT})
    api.post(f"/memories/{memory['id']}/restore", {})


def bring_back(api, memory: dict) -> None:
    api.delete(f"/memories/{memory['id']}")
    api.post("/trash/restore", {"ids": [memory["id"]]})


def make_another_of_the_key(api, memory: dict) -> None:
    api.delete(KEY_ADDRESS)
    api.call("PUT", KEY_ADDRESS, {"content": TEXT, "id": memory["id"]})


CHANGES = {
    "patch": lambda api, memory: api.patch(f"/memories/{memory['id']}", {"importance": 5}),
    "put": lambda api, memory: api.call("PUT", KEY_ADDRESS, {"content": TEXT}),
    "bulk": lambda api, memory: api.post(
        "/memories/bulk", {"memories": [{"content": TEXT, "key": "style", "user_id": "ada"}]}
    ),
    "psql": change_by_sql,
    "a restored version": restore,
    "back from the trash": bring_back,
    "another memory of the key and the id": make_another_of_the_key,
    "superseded": lambda api, memory: api.add("Other.", user_id="ada", replaces=[memory["id"]]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_moves_it(api, memory, change):
    before = get_etag(api, memory)
    change(api, memory)
    assert get_etag(api, memory) != before


def test_two_changes_in_one_transaction_move_it_twice(memory):
    rows = Memory.objects.filter(pk=memory["id"])
    revisions = {rows.get().revision}
    for importance in (1, 2):
        rows.update(importance=importance)
        revisions.add(rows.get().revision)
    assert len(revisions) == 3


def test_reading_counting_and_embedding_leave_it(api, memory):
    before = get_etag(api, memory)
    tasks.embed_due()
    api.post(f"/memories/{memory['id']}/recall")
    api.post("/memories/recall", {"query": TEXT})
    api.search(TEXT)
    api.post("/users/ada/retrieve", {"query": TEXT})
    Memory.objects.update(access_count=9, last_seen_at="2020-01-01T00:00:00Z")
    read = api.get(f"/memories/{memory['id']}")
    assert (read.json()["access_count"], read.json()["embedded"]) == (9, True)
    assert read["ETag"] == before


# If-Match


def test_writes_with_the_present_tag_go_on(api, memory):
    path = f"/memories/{memory['id']}"
    for method, address in (("PATCH", path), ("PUT", KEY_ADDRESS), ("PATCH", path), ("DELETE", KEY_ADDRESS)):
        answer = write(api, method, address, If_Match=f'"0", W/"x", {get_etag(api, memory)}')
        assert answer.status_code in (200, 204), answer.content


def test_writes_with_an_old_tag_change_nothing(api, memory):
    old = get_etag(api, memory)
    api.patch(f"/memories/{memory['id']}", {"tags": ["new"]})
    before = api.get(KEY_ADDRESS)
    for method, address in list_writes(memory):
        answer = write(api, method, address, If_Match=old)
        assert is_problem(answer, 412)
        assert answer["ETag"] == before["ETag"]
    assert api.get(KEY_ADDRESS).json() == before.json()


def test_a_weak_tag_is_no_match(api, memory):
    for method, address in list_writes(memory):
        assert is_problem(write(api, method, address, If_Match=f"W/{get_etag(api, memory)}"), 412)


def test_an_asterisk_needs_a_memory(api):
    assert is_problem(write(api, "PUT", KEY_ADDRESS, If_Match="*"), 412)
    assert Memory.objects.count() == 0
    put = write(api, "PUT", KEY_ADDRESS)
    for method, address in list_writes(put.json())[:3]:
        assert write(api, method, address, If_Match="*").status_code in (200, 204)


@pytest.mark.parametrize("headers", [{"If_Match": "*"}, {"If_Match": '"1"'}, {"If_None_Match": "*"}])
def test_what_is_not_there_is_not_found(api, headers):
    for method, address in list_writes({"id": uuid4()}):
        if method != "PUT":
            assert is_problem(write(api, method, address, **headers), 404)


def test_another_namespace_is_told_nothing(api, outsider, memory):
    for method, address in list_writes(memory):
        answer = write(outsider, method, address, If_Match=get_etag(api, memory))
        assert is_problem(answer, 412 if method == "PUT" else 404)
        assert not answer.has_header("ETag")


# If-None-Match


def test_an_asterisk_creates_and_never_replaces(api):
    assert write(api, "PUT", KEY_ADDRESS, If_None_Match="*").status_code == 201
    memory = api.get(KEY_ADDRESS).json()
    for method, address in list_writes(memory):
        assert is_problem(write(api, method, address, If_None_Match="*"), 412)
    assert api.get(KEY_ADDRESS).json() == memory


def test_tags_that_may_not_be_there(api, memory):
    for method, address in list_writes(memory)[:2]:
        assert is_problem(write(api, method, address, If_None_Match=f"W/{get_etag(api, memory)}"), 412)
        assert write(api, method, address, If_None_Match='"1"').status_code == 200


def test_what_the_caller_has_is_not_sent_again(api, address, memory):
    etag = api.get(address)["ETag"]
    for tag in (etag, f"W/{etag}", f'"a", {etag}', "*"):
        answer = api.get(address, **{"If-None-Match": tag})
        assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", etag)
    assert api.get(address, **{"If-None-Match": '"a"'}).status_code == 200
    assert api.get(address, **{"If-Match": etag}).status_code == 200
    assert is_problem(api.get(address, **{"If-Match": '"a"'}), 412)


# Headers


MALFORMED = ["", " ", ",", "1", '"1', '1"', '"1" "2"', '"1";"2"', "*, *", '*, "1"', 'w/"1"', 'W/ "1"', '"a b"', "'1'"]
ENDLESS = ['"1"\n', "\n", '"1",\n']


@pytest.mark.parametrize("value", MALFORMED)
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
def test_malformed_header_is_refused(api, memory, name, value):
    for method, address in [*list_writes(memory), ("GET", KEY_ADDRESS), ("GET", f"/memories/{memory['id']}")]:
        answer = write(api, method, address, **{name: value})
        assert is_problem(answer, 400)
        assert list_blamed_fields(answer) == {name}
    assert Memory.objects.get().content == TEXT


@pytest.mark.parametrize(
    ("value", "tags"),
    [('"1"', {"1"}), ('"1","2"', {"1", "2"}), (' "1" ,, "2,3" , ', {"1", "2,3"}), ('"",W/"9"', {""}), ('"é"', {"é"})],
)
def test_tags_of_a_header(value, tags):
    assert read_preconditions(value, None).if_match.strong == tags


def test_a_long_header_is_read_in_time():
    for value in (*ENDLESS, " " * 60_000 + "x", ", " * 30_000 + "x", '"1", ' * 10_000 + "x", '"' * 60_000):
        with pytest.raises(Problem):
            read_preconditions(value, None)


# At once


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_of_two_writers_with_one_tag_exactly_one_wins(api, method):
    for _ in range(10):
        memory = api.add(TEXT, key="style", user_id="ada")
        etag = get_etag(api, memory)
        address = KEY_ADDRESS if method == "PUT" else f"/memories/{memory['id']}"
        answers = run_at_once([partial(write, api, method, address, If_Match=etag)] * 2)
        won, lost = sorted(answer.status_code for answer in answers)
        assert (won, lost) in ((200, 412), (204, 412), (204, 404))


@pytest.mark.django_db(transaction=True)
def test_of_many_creators_exactly_one_wins(api):
    for _ in range(5):
        creators = [partial(write, api, "PUT", KEY_ADDRESS, If_None_Match="*")] * 6
        assert sorted(answer.status_code for answer in run_at_once(creators)) == [201] + [412] * 5
        Memory.objects.all().delete()
