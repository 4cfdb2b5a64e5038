"""A folder that may be read, and runs over it."""

import pytest

from ingestion.file_discovery import DEFAULT_SUFFIXES
from ingestion.models import Document, Ingestion
from ingestion.pipeline import run_ingestion
from ingestion.tasks import ingest_due
from memories.models import Memory


@pytest.fixture
def root(settings, tmp_path):
    """Of what may be read; the folder `site` in it is empty."""
    settings.INGESTION_ROOTS = [str(tmp_path)]
    (tmp_path / "site").mkdir()
    return tmp_path


@pytest.fixture
def site(root):
    return root / "site"


@pytest.fixture
def ingest(namespace, site):
    """Does a run to its end and gives its row, fresh from the database."""

    def go(folder=site, repo_id="site", namespace=namespace) -> Ingestion:
        row = Ingestion.objects.create(
            namespace=namespace, repo_id=repo_id, path=str(folder), suffixes=list(DEFAULT_SUFFIXES)
        )
        for _ in run_ingestion(row):
            pass
        return Ingestion.objects.get(pk=row.pk)

    return go


@pytest.fixture
def start(api, site):
    """Asks for a run and has it done; what GET then says."""

    def go(repo_id="site", path=str(site)) -> dict:
        answer = api.post(f"/repositories/{repo_id}/ingestions", {"path": path})
        assert answer.status_code == 202, answer.content
        ingest_due()
        return api.get(answer["Location"].removeprefix("/api/v1")).json()

    return go


def snapshot_repository(namespace, repo_id="site") -> list[tuple]:
    """Everything a run leaves, without ids and times: chunks as (path, place, content, labels)."""
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
