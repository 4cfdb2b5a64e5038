"""Fixtures: a folder inside INGESTION_ROOTS, and runs over it."""

import pytest

from ingestion.file_discovery import DEFAULT_SUFFIXES
from ingestion.models import Document, Ingestion
from ingestion.pipeline import run_ingestion
from ingestion.tasks import ingest_due
from memories.models import Memory


@pytest.fixture
def root(settings, tmp_path):
    """Return the only root, with an empty folder `site`."""
    settings.INGESTION_ROOTS = [str(tmp_path)]
    (tmp_path / "site").mkdir()
    return tmp_path


@pytest.fixture
def site(root):
    return root / "site"


@pytest.fixture
def ingest(namespace, site):
    """Run an ingestion to its end and return its row from the database."""

    def run(folder=site, repo_id="site", namespace=namespace) -> Ingestion:
        row = Ingestion.objects.create(
            namespace=namespace, repo_id=repo_id, path=str(folder), suffixes=list(DEFAULT_SUFFIXES)
        )
        for _ in run_ingestion(row):
            pass
        return Ingestion.objects.get(pk=row.pk)

    return run


@pytest.fixture
def start(api, site):
    """Start a run through the API, process it and return what GET then answers."""

    def run(repo_id="site", path=str(site)) -> dict:
        answer = api.post(f"/repositories/{repo_id}/ingestions", {"path": path})
        assert answer.status_code == 202, answer.content
        ingest_due()
        return api.get(answer["Location"].removeprefix("/api/v1")).json()

    return run


def snapshot_repository(namespace, repo_id="site") -> list[tuple]:
    """Return everything that a run stores, without ids and times: chunks as (path, position, content, labels)."""
    documents = {
        row.pk: (row.path, bytes(row.digest), row.size, row.chunk_count)
        for row in Document.objects.filter(namespace=namespace, repo_id=repo_id)
    }
    rows = []
    for memory in Memory.objects.filter(document_id__in=documents):
        place = {name: value for name, value in memory.metadata.items() if name != "document_id"}
        assert memory.metadata["document_id"] == str(memory.document_id)
        rows.append(
            (*documents[memory.document_id], memory.content, repr(sorted(place.items())), memory.memory_type,
             memory.repo_id, memory.source_system)
        )  # fmt: skip
    empty = [facts for facts in documents.values() if facts[3] == 0]
    return sorted(rows) + sorted(empty)
