"""Jobs by the API: the same rows as in the console."""

import pytest

from memories.jobs import tasks
from memories.jobs.models import Job
from memories.models import Memory
from tests.memories.jobs.conftest import make_memories
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
DELETE_ADA = {"action": "delete", "filters": {"user_id": "ada"}}


@pytest.fixture
def memories(namespace):
    make_memories(namespace, 2, user_id="bob")
    return make_memories(namespace, 12, user_id="ada")


def test_a_dry_run_counts_and_shows_ten(api, memories):
    answer = api.post("/jobs", DELETE_ADA | {"dry_run": True})
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["matched"], shown["description"]) == (12, "Delete 12 memories")
    assert [each["id"] for each in shown["samples"]] == [str(memory.pk) for memory in reversed(memories[2:])]
    assert Memory.objects.count() == 14 and not Job.objects.exists()


def test_a_job_is_created_followed_and_ended(api, reader, memories):
    answer = api.post("/jobs", DELETE_ADA | {"expected": 12})
    assert answer.status_code == 202
    job = answer.json()
    assert answer["Location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["state"], job["matched"], job["done"], job["percent"]) == ("pending", 12, 0, 0)
    assert job["created_by"].startswith("key:mem_")
    tasks.run_jobs()
    job = reader.get(f"/jobs/{job['id']}").json()
    assert (job["state"], job["done"], job["failed"], job["percent"]) == ("finished", 12, 0, 100)
    assert job["memories_per_second"] > 0 and job["seconds_left"] is None
    assert Memory.objects.count() == 2


def test_jobs_are_listed_newest_first_and_by_state(api, memories):
    for tag in "abc":
        api.post("/jobs", {"action": "tag", "parameters": {"tags": [tag]}})
    page = api.get("/jobs?limit=2").json()
    rest = api.get(f"/jobs?limit=2&cursor={page['next']}").json()
    assert [job["parameters"]["tags"] for job in page["results"] + rest["results"]] == [["c"], ["b"], ["a"]]
    assert len(api.get("/jobs?state=pending").json()["results"]) == 3
    assert api.get("/jobs?state=failed").json()["results"] == []
    assert is_problem(api.get("/jobs?state=odd"), 422)


def test_a_text_or_a_pattern_selects(api, memories):
    assert api.post("/jobs", {"action": "tag", "parameters": {"tags": ["a"]}, "text": "TEXT 1"}).json()["matched"] == 4
    wanted = {"action": "delete", "text": "^text 1$", "mode": "pattern"}
    assert api.post("/jobs", wanted).json()["matched"] == 2
    assert api.post("/jobs", wanted | {"text": "(("}).json()["errors"][0]["field"] == "text"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "delete"}, "filters"),
        ({"action": "delete", "filters": {}}, "filters"),
        ({"action": "burn"}, "action"),
        ({"action": "undo"}, "action"),
        ({"action": "tag"}, "parameters.tags"),
        ({"action": "tag", "parameters": {"tags": ["a"], "x": 1}}, "parameters.x"),
        ({"action": "expire", "parameters": {"expires_at": "2020-01-01T00:00:00Z"}}, "parameters.expires_at"),
        ({"action": "tag", "parameters": {"tags": ["a"]}, "expected": -1}, "expected"),
    ],
    ids=["all", "empty", "unknown", "undo", "missing", "extra", "past", "negative"],
)
def test_what_is_wrong_is_named_and_nothing_is_started(api, memories, body, field):
    answer = api.post("/jobs", body)
    assert is_problem(answer, 422)
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not Job.objects.exists()


def test_another_number_starts_nothing(api, memories):
    answer = api.post("/jobs", DELETE_ADA | {"expected": 11})
    assert is_problem(answer, 409)
    assert not Job.objects.exists()


def test_a_retry_creates_one_job(api, memories):
    first, second = (api.post("/jobs", DELETE_ADA, **{"Idempotency-Key": "x"}).json() for _ in range(2))
    assert first["id"] == second["id"]
    assert Job.objects.count() == 1


def test_a_job_is_cancelled_once(api, memories):
    job = api.post("/jobs", DELETE_ADA).json()["id"]
    assert api.post(f"/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert is_problem(api.post(f"/jobs/{job}/cancel"), 409)
    assert Memory.objects.count() == 14


def test_an_export_is_downloaded(api, outsider, memories):
    job = api.post("/jobs", {"action": "export", "filters": {"user_id": "ada"}}).json()["id"]
    assert is_problem(api.get(f"/jobs/{job}/file"), 404)
    tasks.run_jobs()
    answer = api.get(f"/jobs/{job}/file")
    assert answer.status_code == 200
    assert b"".join(answer.streaming_content).count(b"\n") == 13
    assert is_problem(outsider.get(f"/jobs/{job}/file"), 404)


def test_a_reader_starts_nothing(reader, memories):
    assert is_problem(reader.post("/jobs", DELETE_ADA), 403)
