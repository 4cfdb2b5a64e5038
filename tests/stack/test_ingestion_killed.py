"""A worker that dies in the middle of reading a repository: the run is taken up, and ends as if nothing had been."""

from pathlib import Path

from tests.stack.stack import wait_until

FILE_COUNT = 200
SECTION_TEXT = (
    "## Section {}\n\n" + "It was written down so that nobody has to ask for it again at the yearly meeting.\n\n" * 20
)
SELECT_CHUNKS_SQL = """
SELECT d.path, encode(d.digest, 'hex'), d.size, d.chunk_count, m.content, m.metadata - 'document_id', m.memory_type,
    m.source_system
FROM ingestion_document d JOIN memories_memory m ON m.document_id = d.id AND m.repo_id = d.repo_id
WHERE d.repo_id = '{}' ORDER BY d.path, m.content, (m.metadata - 'document_id')::text
"""
#: Until this is undone, a worker waits with the file in the middle.
OCCUPY_FILE_SQL = """
INSERT INTO ingestion_document (namespace_id, id, repo_id, path, digest, size, metadata, chunk_count)
SELECT id, gen_random_uuid(), 'disturbed', '100.md', '', 0, '{}', 0 FROM sessions_app_namespace WHERE name = 'default'
"""
COUNT_DOCUMENTS_SQL = "SELECT count(*) FROM ingestion_document WHERE repo_id = 'disturbed'"
EXPIRE_HEARTBEAT_SQL = (
    "UPDATE ingestion_ingestion SET last_heartbeat_at = last_heartbeat_at - interval '61 s' RETURNING id"
)
SELECT_ATTEMPTS_SQL = "SELECT attempts FROM ingestion_ingestion WHERE repo_id = 'disturbed'"


def start_ingestion(stack, folder: Path, repo_id: str) -> str:
    answer = stack.call("POST", f"/repositories/{repo_id}/ingestions", {"path": str(folder)})
    assert answer.status == 202, answer.data
    return answer.headers["Location"].removeprefix("/api/v1")


def get_ingestion(stack, location: str) -> dict:
    return stack.call("GET", location).json()


def is_done(stack, location: str) -> bool:
    return get_ingestion(stack, location)["status"] == "completed"


def test_a_run_ends_as_if_its_worker_had_not_been_killed(shaken, measured):
    folder = Path(shaken.environment["INGESTION_ROOTS"]) / "site"
    folder.mkdir()
    for number in range(FILE_COUNT):
        (folder / f"{number:03}.md").write_text(
            f"# File {number}\n\n{SECTION_TEXT.format(number)}{SECTION_TEXT.format('last')}"
        )
    with shaken.holding(OCCUPY_FILE_SQL) as wait_until_worker_waits:
        disturbed = start_ingestion(shaken, folder, "disturbed")
        wait_until_worker_waits()
        killed = shaken.kill("worker")
    assert shaken.rows(COUNT_DOCUMENTS_SQL) == [(100,)]
    back = wait_until(lambda: shaken.is_back("worker", killed), 60, "the supervisor starts a worker again")
    half = get_ingestion(shaken, disturbed)
    assert half["status"] == "in_progress"
    shaken.rows(EXPIRE_HEARTBEAT_SQL)
    shaken.rows("UPDATE leases_lease SET expires_at = now() RETURNING name")
    undisturbed = start_ingestion(shaken, folder, "undisturbed")  # which wakes the worker
    done = back + wait_until(lambda: is_done(shaken, disturbed), 60, "the run is taken up and completed")
    measured(f"from a worker killed in the middle of {FILE_COUNT} documents to the run's end, silence left out", done)
    wait_until(lambda: is_done(shaken, undisturbed), 60, "the other run is completed")
    end = get_ingestion(shaken, disturbed)
    assert (end["documents_total"], end["documents_done"]) == (FILE_COUNT, FILE_COUNT)
    assert 0 < end["documents_changed"] < FILE_COUNT
    assert shaken.rows(SELECT_ATTEMPTS_SQL) == [(2,)]
    rows = shaken.rows(SELECT_CHUNKS_SQL.format("disturbed"))
    assert len(rows) >= FILE_COUNT
    assert rows == shaken.rows(SELECT_CHUNKS_SQL.format("undisturbed"))
    shaken.rows("DELETE FROM ingestion_document RETURNING id")  # so that no test waits for these vectors
