"""Texts posted to the API: stored in chunks, once, and deleted with them."""

from functools import partial

import pytest

from ingestion.models import Document
from memories import tasks
from memories.models import Memory
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
FILLER = "The committee met on Tuesday and went through the budget, the roof repairs and the summer fair. "
NEEDLE = "The password of the coffee machine is written under the blue kettle."
LONG_TEXT = "\n\n".join(f"# Chapter {number}\n\n{number}. {FILLER * 20}" for number in range(12))
MAX_TEXT_LENGTH = 2 * 2**20


def add_document(api, content: str, **fields) -> dict:
    answer = api.post("/documents", {"content": content, **fields})
    assert answer.status_code == 202, answer.content
    return answer.json()


def test_a_text_is_stored_in_chunks_with_its_title_and_metadata(api):
    document = add_document(
        api, LONG_TEXT, title="Minutes", repo_id="site", metadata={"year": 2026, "by": {"name": "Ada"}}
    )
    assert document["chunks"] == Memory.objects.count() > 2
    assert (document["path"], document["title"], document["repo_id"]) == (None, "Minutes", "site")
    memories = sorted(Memory.objects.all(), key=lambda memory: memory.metadata["position"])
    for place, memory in enumerate(memories):
        assert (memory.memory_type, memory.repo_id, str(memory.document_id)) == ("rag", "site", document["id"])
        assert memory.metadata["position"] == place
        assert (memory.metadata["title"], memory.metadata["year"]) == ("Minutes", 2026)
        assert memory.metadata["by"] == {"name": "Ada"}
        assert "file_path" not in memory.metadata
    assert memories[0].metadata["start_line"] == 1
    assert memories[-1].metadata["end_line"] == LONG_TEXT.count("\n") + 1


def test_a_document_is_returned_as_posted(api):
    document = add_document(api, LONG_TEXT, title="Minutes", metadata={"year": 2026})
    answer = api.get(f"/documents/{document['id']}")
    assert (answer.status_code, answer.json()) == (200, document)


def test_a_repeated_text_counts_as_one_chunk(api):
    document = add_document(api, "\n\n".join(["x" * 4000] * 12))
    assert document["chunks"] == Memory.objects.count()
    assert Memory.objects.order_by("metadata__position").first().metadata["start_line"] == 1
    assert api.get(f"/documents/{document['id']}").json()["chunks"] == document["chunks"]


def test_the_same_text_again_is_the_same_document(api):
    first = add_document(api, LONG_TEXT)
    tasks.embed_due()
    again = add_document(api, LONG_TEXT, title="Minutes")
    assert again["id"] == first["id"]
    assert (Document.objects.count(), Memory.objects.count()) == (1, first["chunks"])
    assert set(Memory.objects.values_list("metadata__title", flat=True)) == {"Minutes"}
    assert tasks.embed_due() == 0


def test_the_same_text_in_another_repository_is_another_document(api, outsider):
    ids = {
        add_document(api, "tea")["id"],
        add_document(api, "tea", repo_id="a")["id"],
        add_document(api, "tea", repo_id="b")["id"],
    }
    ids.add(add_document(outsider, "tea")["id"])
    assert len(ids) == Document.objects.count() == Memory.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_simultaneous_posts_of_the_same_text_create_one_document(api):
    answers = run_at_once([partial(api.post, "/documents", {"content": LONG_TEXT})] * 6)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == Document.objects.count() == 1
    assert Memory.objects.count() == answers[0].json()["chunks"]


def test_a_document_is_deleted_with_its_chunks_and_no_others(api):
    other, deleted = add_document(api, "tea and milk"), add_document(api, LONG_TEXT)
    answer = api.delete(f"/documents/{deleted['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert [str(memory.document_id) for memory in Memory.objects.all()] == [other["id"]]
    assert is_problem(api.get(f"/documents/{deleted['id']}"), 404)
    assert is_problem(api.delete(f"/documents/{deleted['id']}"), 404)


def test_another_namespace_neither_sees_nor_deletes_a_document(api, outsider):
    document = add_document(api, "tea")
    assert is_problem(outsider.get(f"/documents/{document['id']}"), 404)
    assert is_problem(outsider.delete(f"/documents/{document['id']}"), 404)
    assert Memory.objects.count() == 1


@pytest.mark.parametrize("content", ["", " \n\t", "\u200b\u3164", "a\0b", "x" * (MAX_TEXT_LENGTH + 1)], ids=len)
def test_a_blank_or_too_large_text_is_refused(api, content):
    before = fingerprint_tables()
    answer = api.post("/documents", {"content": content})
    assert is_problem(answer, 422)
    assert list_blamed_fields(answer) == {"content"}
    assert fingerprint_tables() == before


def test_the_largest_text_is_accepted_even_as_one_word(api):
    document = add_document(api, "x" * MAX_TEXT_LENGTH)
    assert document["chunks"] == Memory.objects.count() > 0


def test_the_largest_metadata_is_accepted(api):
    metadata = {f"key {number}": "x" * 230 for number in range(256)}
    document = add_document(api, "tea", metadata=metadata)
    assert document["metadata"] == metadata
    assert Memory.objects.get().metadata.items() >= metadata.items()


def test_metadata_cannot_set_the_position_of_a_chunk(api):
    document = add_document(
        api, "tea", title="Tea", metadata={"document_id": "mine", "position": "x", "start_line": "first"}
    )
    metadata = Memory.objects.get().metadata
    assert (metadata["document_id"], metadata["position"], metadata["start_line"]) == (document["id"], 0, 1)


def test_a_posted_document_survives_runs_of_its_repository(api, site, ingest):
    document = add_document(api, "tea", repo_id="site")
    (site / "a.md").write_text("coffee")
    ingest()
    assert api.get(f"/documents/{document['id']}").status_code == 200


@pytest.mark.parametrize("name", ["hashing", "onnx"])
def test_the_last_sentence_of_a_long_text_is_found(api, settings, name):
    if name == "onnx":
        settings.EMBEDDINGS = {
            "default": {"BACKEND": "memories.embeddings.onnx.OnnxEmbedder", "MODEL": "all-MiniLM-L6-v2", "OPTIONS": {}}
        }
    add_document(api, "\n\n".join([FILLER * 8] * 6 + [NEEDLE]), title="Minutes")
    add_document(api, FILLER * 3)
    tasks.embed_due()
    answer = api.post("/knowledge/query", {"query": "Where is the secret word for the espresso maker's kettle?"}).json()
    assert answer["degraded"] is False
    assert NEEDLE in answer["results"][0]["memory"]["content"]
