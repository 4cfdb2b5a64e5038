"""Repositories over the API: their list, in pages, and deletion with everything that was read from them."""

from functools import partial

import pytest
from django.db import connection

from ingestion.models import Document, Ingestion, IngestionStatus
from ingestion.pipeline import lock_repository
from ingestion.tasks import ingest_due
from memories import tasks
from memories.models import Embedding, Memory
from tests.ingestion.folders import write_files
from tests.wire import is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db


def list_ids(page: dict) -> list[str]:
    return [row["repo_id"] for row in page["results"]]


def test_repositories_are_listed_by_id_in_pages(api, outsider):
    for repo_id in ("c", "a", "b", "e/f", "d", "a"):
        api.post("/documents", {"content": f"tea {repo_id} {Document.objects.count()}", "repo_id": repo_id})
    outsider.post("/documents", {"content": "tea", "repo_id": "aa"})
    first = api.get("/repositories?limit=2").json()
    assert (list_ids(first), first["previous"]) == (["a", "b"], None)
    assert [row["documents"] for row in first["results"]] == [2, 1]
    second = api.get(f"/repositories?limit=2&cursor={first['next']}").json()
    assert list_ids(second) == ["c", "d"]
    third = api.get(f"/repositories?limit=2&cursor={second['next']}").json()
    assert (list_ids(third), third["next"]) == (["e/f"], None)
    assert list_ids(api.get(f"/repositories?limit=2&cursor={second['previous']}").json()) == ["a", "b"]
    for query in ("limit=0", "limit=101", "cursor=x", "page=2"):
        assert is_problem(api.get(f"/repositories?{query}"), 422)


def test_documents_are_listed_newest_first_in_pages(api, reader, outsider, site, ingest):
    write_files(site, {"a.md": "tea"})
    ingest()
    posted = [
        api.post("/documents", {"content": text, "repo_id": repo_id, "title": text}).json()
        for text, repo_id in (("coffee", None), ("milk", "site"), ("water", "other"))
    ]
    first = reader.get("/documents?limit=3").json()
    assert first["results"] == posted[::-1]
    rest = reader.get(f"/documents?limit=3&cursor={first['next']}").json()
    assert [(row["path"], row["size"], row["chunks"]) for row in rest["results"]] == [("a.md", 3, 1)]
    assert rest["next"] is None
    of_site = reader.get("/documents?repo_id=site").json()["results"]
    assert [row["path"] for row in of_site] == [None, "a.md"]
    assert outsider.get("/documents").json()["results"] == []
    for query, field in (("limit=0", "limit"), ("cursor=x", "cursor"), ("repo_id=", "repo_id")):
        assert list_blamed_fields(reader.get(f"/documents?{query}")) == {field}


def test_a_repository_is_deleted_with_its_documents_and_chunks(api, outsider, site, ingest):
    write_files(site, {"a.md": "tea", "b.md": "coffee"})
    ingest(repo_id="ada/site")
    ingest(repo_id="other")
    api.post("/documents", {"content": "milk", "repo_id": "ada/site"})
    outsider.post("/documents", {"content": "milk", "repo_id": "ada/site"})
    kept = api.add("Ada maintains the site.", repo_id="ada/site")
    tasks.embed_due()
    answer = api.delete("/repositories/ada/site")
    assert (answer.status_code, answer.content) == (204, b"")
    assert list_ids(api.get("/repositories").json()) == ["other"]
    assert list_ids(outsider.get("/repositories").json()) == ["ada/site"]
    assert Memory.objects.filter(repo_id="ada/site", namespace__name="ours").get().pk.hex == kept["id"].replace("-", "")
    assert Memory.objects.count() == Embedding.objects.count() == 4
    assert is_problem(api.delete("/repositories/ada/site"), 404)
    assert ingest(repo_id="ada/site").documents_changed == 2


def test_a_repository_of_another_namespace_is_not_deleted(api, outsider, reader):
    api.post("/documents", {"content": "tea", "repo_id": "site"})
    assert is_problem(outsider.delete("/repositories/site"), 404)
    assert is_problem(reader.delete("/repositories/site"), 403)
    assert is_problem(api.delete(f"/repositories/{'x' * 256}"), 422)
    assert Memory.objects.count() == 1


def test_a_repository_is_not_deleted_while_a_run_is_open(api, site, ingest):
    write_files(site, {"a.md": "tea"})
    ingest()
    api.post("/repositories/site/ingestions", {"path": str(site)})
    assert is_problem(api.delete("/repositories/site"), 409)
    assert Memory.objects.count() == 1
    ingest_due()
    assert api.delete("/repositories/site").status_code == 204
    assert Ingestion.objects.filter(status=IngestionStatus.COMPLETED).count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_repository_is_not_deleted_while_a_run_holds_its_lock(api, namespace):
    api.post("/documents", {"content": "tea", "repo_id": "site"})
    connection.close()
    with lock_repository(namespace.pk, "site"):
        [answer] = run_at_once([partial(api.delete, "/repositories/site")])
    assert is_problem(answer, 409)
    assert api.delete("/repositories/site").status_code == 204
